"""OpenFace's scheme of the 28 landmarks of an eye: a ring around the iris, the lids, a ring around the pupil."""

NUM_EYE_LANDMARKS = 28
# How many lie around the iris: the first ones
IRIS = 8
LIDS = slice(8, 20)
# The outer one of the eye further left first
CORNERS = (8, 14)
# The landmark of the other eye at the same place of each: rings and lids turn around
EYE_MIRROR = (
    4, 3, 2, 1, 0, 7, 6, 5, 14, 13, 12, 11, 10, 9, 8, 19, 18, 17, 16, 15, 22, 21, 20, 27, 26, 25, 24, 23,
)  # fmt: skip
