"""The iBUG-68 landmark scheme: which of the 68 points is what. Left and right are those of the image."""

Pairs = tuple[tuple[int, int], ...]

NUM_LANDMARKS = 68
# Parts of the face, as slices of the landmarks
ALL_POINTS, INNER_POINTS = slice(0, 68), slice(17, 68)
JAW, BROWS, NOSE, EYES, MOUTH = slice(0, 17), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68)
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)
# Each landmark's partner on the other side of the face
MIRROR = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
)  # fmt: skip

# Left corner, right corner, of the left and of the right eye
EYE_CORNERS: Pairs = ((36, 39), (42, 45))
OUTER_EYE_CORNERS, INNER_EYE_CORNERS = (36, 45), (39, 42)
# What expressions move least: nose and corners of the eyes. An open mouth does not make the face smaller
STEADY = (*range(NUM_LANDMARKS)[NOSE], *(corner for eye in EYE_CORNERS for corner in eye))
# Upper, lower
EYELIDS: Pairs = ((37, 41), (38, 40), (43, 47), (44, 46))
LIPS: Pairs = (
    # Outer edges
    (50, 58), (51, 57), (52, 56),
    # Inner edges
    (61, 67), (62, 66), (63, 65),
    # Through the upper and through the lower lip
    (50, 61), (51, 62), (52, 63), (67, 58), (66, 57), (65, 56),
)  # fmt: skip
# Left, right
ALONG_EYES: Pairs = (*EYE_CORNERS, (39, 42), (37, 38), (41, 40), (43, 44), (47, 46))
ALONG_MOUTH: Pairs = ((48, 54), (60, 64), (49, 53), (50, 52), (59, 55), (58, 56), (61, 63), (67, 65))
# From ear to ear
ALONG_JAW: Pairs = tuple((point, point + 1) for point in range(16))
CHIN_TO_MOUTH, EAR_TO_EAR = (57, 8), (0, 16)
# Outlines that are drawn, each from landmark to landmark; closed ones end where they begin
CONTOURS = (
    tuple(range(17)), tuple(range(17, 22)), tuple(range(22, 27)), tuple(range(27, 31)), tuple(range(31, 36)),
    (*range(36, 42), 36), (*range(42, 48), 42), (*range(48, 60), 48), (*range(60, 68), 60),
)  # fmt: skip

# Single points that face measures name; of pairs the one on the left of the image comes first
BROW_ARCHES = ((18, 19, 20), (25, 24, 23))
MOUTH_CORNERS, ALAE, INNER_LIPS = (48, 54), (31, 35), (62, 66)
NOSE_BASE, UPPER_LIP, LOWER_LIP = 33, 51, 57
