"""The settings of a video tracker."""

from dataclasses import dataclass, replace

from clnf_torch.fitting.config import FitConfig, preset_named
from clnf_torch.geometry.records import loadable
from clnf_torch.geometry.settings import check_settings
from clnf_torch.models.patch_experts.base import Experts

COUNTS = ("detect_every", "confirm_after", "max_missed_frames", "delete_after", "reidentify_distance")
IOUS = ("match_iou", "duplicate_iou")
SIMILARITIES = ("reidentify_similarity", "resume_similarity", "scene_similarity", "cut_similarity")


@loadable
@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """How faces are tracked. The attributes up to `template` are OpenFace's settings with its defaults.

    A track is tentative until its face was found in `confirm_after` frames. A frame in which its face was not found is
    a missed one; a lost track is one whose last frame was missed.

    Attributes:
        preset: Settings of fits in detected boxes, and of faces that were lost in the frame before.
        tracking_windows: Window sizes for faces that were found in the frame before, reference pixels; None: those of
            the preset "tracking".
        single_face: OpenFace's tracker: one face per video, and its rules to the letter.
        redetect_every: With a single face: detect again after so many missed frames; negative: never after a miss.
        template: Before the fit, move each face to where template matching finds its image of the frame before.
        smooth: Smooth results over time; see `smooth_faces`. Fits start from what was fitted all the same.
        multi_view: Try eleven rotations on every detected face; OpenFace does.
        detect_every: Frames from one detection in the whole image to the next.
        confirm_after: Frames in which a face was found until its track is confirmed.
        max_missed_frames: Missed frames in a row in which a lost track is still fitted where it was; OpenFace's number.
        delete_after: Missed frames in a row until a track is deleted and its identity given up.
        match_iou: Least intersection over union (IoU) of a track and the detected box of its face.
        duplicate_iou: IoU above which two tracks follow one face.
        reidentify_distance: Distance from a lost track beyond which only appearance counts, widths of its box.
        reidentify_similarity: Least correlation of appearance for re-identification beyond that distance, and for a
            track to be preferred where another one follows the same face.
        resume_similarity: Least correlation of appearance for a fit where a track was lost to resume it.
        scene_similarity: Correlation of a whole frame with the one before it below which there is a cut between them.
        cut_similarity: Least correlation of appearance for a fit behind a cut to be of the track that was there before.

    Raises:
        ValueError: A setting makes no sense.
    """

    preset: str | FitConfig = "default"
    tracking_windows: tuple[int, ...] | None = None
    single_face: bool = False
    redetect_every: int = 2
    template: bool = False

    smooth: bool = False
    multi_view: bool = True
    detect_every: int = 10
    confirm_after: int = 5
    max_missed_frames: int = 100
    delete_after: int = 1800
    match_iou: float = 0.3
    duplicate_iou: float = 0.5
    reidentify_distance: float = 4.0
    reidentify_similarity: float = 0.7
    resume_similarity: float = 0.35
    # Neighbouring frames of OpenFace's sample videos correlate by 0.91 and more, every fifth one by 0.57, different
    # photographs by 0.43 and less
    scene_similarity: float = 0.5
    # A face and its track by 0.51 and more, 19 of 20 pairs of different people by less than 0.54
    cut_similarity: float = 0.5

    def __post_init__(self) -> None:
        """Refuses settings without sense."""
        check_settings(self)
        if getattr(getattr(self.preset, "regularisation", None), "ndim", 0):
            raise ValueError("preset has a regularisation per face; faces come and go in videos: give one number")
        if self.redetect_every == 0:
            raise ValueError("redetect_every is 0; give a number of frames, or a negative one for never")
        for name in COUNTS:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")
        for name in IOUS:
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is an IoU between 0 and 1")
        for name in SIMILARITIES:
            if not -1 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is a correlation between -1 and 1")

    def fit_configs(self, family: type[Experts], networks: int = 0) -> tuple[FitConfig, FitConfig]:
        """Settings for detected or lost faces, and for tracked faces, with a family of patch experts.

        Args:
            family: Of the patch experts.
            networks: Between how many, one a scale, the landmarks are means; 0 where they are none.

        Raises:
            ValueError: There is no such preset.
        """
        detected = preset_named(self.preset, family) if isinstance(self.preset, str) else self.preset
        windows = self.tracking_windows or preset_named("tracking", family).window_sizes
        if networks == 2 and not self.tracking_windows:
            # Neither is left out: together they are better, and the first one finds what has moved far
            windows = detected.window_sizes
        return detected, replace(detected, window_sizes=windows)
