"""The settings of a video tracker."""

from dataclasses import dataclass, replace

from clnf_torch.fitting.config import FitConfig, preset_named


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """How faces are followed; the first group are OpenFace's settings with its defaults."""

    preset: str | FitConfig = "default"  # of fits in boxes, and of faces that were lost in the frame before
    small_windows: tuple[int, ...] | None = None  # for faces that were followed in the frame before; "tracking"'s
    single_face: bool = False  # OpenFace's tracker: one face per video, and its rules to the letter
    redetect_every: int = 2  # single face: look again after so many failing frames; negative: never after a failure
    template: bool = False  # move each face to where its image of the frame before is found, before the fit

    multi_view: bool = True  # try eleven rotations on every detected face; OpenFace does
    detect_every: int = 10  # many faces: frames from one look at the whole image to the next
    confirm_after: int = 5  # frames in which a face was found until it is no mistake; before, it rests soon when lost
    look_for: int = 100  # failing frames in a row in which a lost face is fitted where it was; OpenFace's number
    forget_after: int = 1800  # failing frames in a row until a face's identity is given up
    same_face: float = 0.3  # overlap (common area by the area of both) of a track and a detected box of one face
    merge_above: float = 0.5  # overlap of two tracks that have come to follow one face
    reach: float = 4.0  # widths of its box from where a face was lost to where only its looks count
    alike_far: float = 0.7  # correlation of looks from which a face found out of reach of a lost one is that one
    alike_here: float = 0.35  # from which a fit where a face was lost is that face, although no detection says so

    def __post_init__(self) -> None:
        """Refuses settings without sense."""
        if self.redetect_every == 0:
            raise ValueError("redetect_every is 0; give a number of frames, or a negative one for never")
        for name in ("detect_every", "confirm_after", "look_for", "forget_after", "reach"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")
        for name in ("same_face", "merge_above"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is an overlap between 0 and 1")
        for name in ("alike_far", "alike_here"):
            if not -1 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is a correlation between -1 and 1")

    def fit_configs(self, family: str) -> tuple[FitConfig, FitConfig]:
        """Settings for faces that are looked for, and for faces that are followed, with a family of patch experts.

        Raises:
            ValueError: There is no such preset.
        """
        first = preset_named(self.preset, family) if isinstance(self.preset, str) else self.preset
        windows = self.small_windows or preset_named("tracking", family).window_sizes
        return first, replace(first, window_sizes=windows)
