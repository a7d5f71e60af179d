"""The style of drawings: what is drawn, how thick, and in which colours."""

import math
from dataclasses import dataclass

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

# Matplotlib's viridis from .25 to 1 in equal steps: lightness rises with the value, for colour-blind readers too. Its
# first quarter is too dark to be seen on photographs
VIRIDIS = (
    (59, 82, 139), (49, 104, 142), (40, 124, 142), (33, 145, 140), (32, 163, 134),
    (53, 183, 121), (94, 201, 98), (157, 217, 59), (253, 231, 37),
)  # fmt: skip
# Expected errors, as shares of the distance of the outer eye corners, at the ends of the colours: the corners of the
# eyes in a good photograph have less than the first, and people call a landmark wrong from about the second on
GOOD_ERROR, POOR_ERROR = 0.01, 0.1
# Faces that were not found
FAILED: Colour = (200, 200, 200)
# Dark lines under the coloured ones, which so stand out from skin and from hair
CASING: Colour = (20, 20, 20)
# The head's axes to the image's right, up and forward, and the gaze: of the colours of Okabe and Ito, which
# colour-blind readers tell apart
AXES: tuple[Colour, Colour, Colour] = ((213, 94, 0), (0, 158, 115), (86, 180, 233))
GAZE: Colour = (230, 130, 190)
IRIS: Colour = (86, 180, 233)
# "no face"
ALARM: Colour = (213, 94, 0)


@dataclass(frozen=True, kw_only=True)
class DrawingStyle:
    """What is drawn, and how large.

    Attributes:
        contours: The outlines of the face; without them nothing but a dot stands at each landmark.
        eyes: Rings around irises and pupils, where the model has 28-point eyes.
        axes: The head's axes.
        gaze: An arrow from each iris.
        boxes: The extent of the landmarks.
        labels: The face's number and confidence.
        marks: The frame's caption, and "no face" where there is none.
        quality: The colour of contours is each landmark's expected error, where it is known, not the face's confidence.
        line_width: Of contours, as a share of the face's extent.
        text_size: Height of capital letters, as a share of the image's shorter side; labels of small faces are smaller.
    """

    contours: bool = True
    eyes: bool = True
    axes: bool = True
    gaze: bool = True
    boxes: bool = True
    labels: bool = True
    marks: bool = True
    quality: bool = False
    line_width: float = 0.006
    text_size: float = 0.016

    def __post_init__(self) -> None:
        """Checks the sizes."""
        for name in ("line_width", "text_size"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ValueError(f"{name} is {value}; expected a share between 0 and 1")


def confidence_colour(confidence: float) -> Colour:
    """The colour of a confidence: from dark blue at 0 to bright yellow at 1; gray where it is not finite."""
    if not math.isfinite(confidence):
        return FAILED
    place = min(max(confidence, 0.0), 1.0) * (len(VIRIDIS) - 1)
    lower = min(int(place), len(VIRIDIS) - 2)
    return _mixed(VIRIDIS[lower], VIRIDIS[lower + 1], place - lower)


def error_colour(error: float) -> Colour:
    """The colour of an expected error: from bright yellow at `GOOD_ERROR` to dark blue at `POOR_ERROR`.

    Args:
        error: As a share of the distance of the outer eye corners.
    """
    if math.isnan(error):
        return FAILED
    within = min(max(error, GOOD_ERROR), POOR_ERROR)
    return confidence_colour(math.log(POOR_ERROR / within) / math.log(POOR_ERROR / GOOD_ERROR))


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever is read more easily on a colour.

    Source:
        ITU-R BT.601, luma.
    """
    red, green, blue = background
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 128 else (255, 255, 255)


def _mixed(first: Colour, second: Colour, share: float) -> Colour:
    """A colour between two."""
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(first, second, strict=True))
    return red, green, blue
