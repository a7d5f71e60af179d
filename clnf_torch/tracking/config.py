"""The settings of a video tracker."""

from dataclasses import dataclass, replace

from clnf_torch.fitting.config import FitConfig, preset_named


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """How faces are followed; the first group are OpenFace's settings with its defaults."""

    preset: str | FitConfig = "default"  # of fits in boxes, and of faces that were lost in the frame before
    small_windows: tuple[int, ...] = (0, 9, 7, 0)  # windows for faces that were followed in the frame before
    single_face: bool = False  # OpenFace's tracker: one face per video, and its rules to the letter
    redetect_every: int = 2  # single face: look again after so many failing frames; negative: never after a failure
    template: bool = False  # move each face to where its picture of the frame before is found, before the fit

    multi_view: bool = True  # try eleven rotations on every detected face; OpenFace does
    detect_every: int = 10  # many faces: frames from one look at the whole picture to the next
    forget_after: int = 100  # failing frames in a row until a face's identity is given up; OpenFace's number
    same_face: float = 0.3  # overlap (common area by the area of both) of a track and a detected box of one face
    merge_above: float = 0.5  # overlap of two tracks that have come to follow one face
    reach: float = 1.0  # how far from where it was lost a face may come back, in widths of its box

    def __post_init__(self) -> None:
        """Refuses settings without sense."""
        if self.redetect_every == 0:
            raise ValueError("redetect_every is 0; give a number of frames, or a negative one for never")
        if self.detect_every < 1 or self.forget_after < 1:
            raise ValueError(f"detect_every {self.detect_every} and forget_after {self.forget_after} must be positive")
        if not (0 < self.same_face < 1 and 0 < self.merge_above < 1 and self.reach >= 0):
            raise ValueError(
                f"same_face {self.same_face} and merge_above {self.merge_above} are overlaps between 0 and 1, "
                f"reach {self.reach} must not be negative"
            )

    def fit_configs(self, family: str) -> tuple[FitConfig, FitConfig]:
        """Settings for faces that are looked for, and for faces that are followed, with a family of patch experts.

        Raises:
            ValueError: There is no such preset.
        """
        first = preset_named(self.preset, family) if isinstance(self.preset, str) else self.preset
        return first, replace(first, window_sizes=self.small_windows)
