"""The proportions around which random faces vary: MakeHuman's targets that bring its mean head to the mean of people.

MakeHuman's own head has higher brows, a longer nose and smaller eyes than people have. The weights were found by least
squares over the 68 landmarks of the mean of 400 random grown-ups, pose and size left free, against the mean of
ICT-FaceKit's scans (MIT licence). Brows and forehead go half as far forward as that asks, as more makes a ridge.
"""

from collections.abc import Iterable

# Of both sides where a target has sides; a target's opposite is written by its own name
PROPORTIONS = {
    "head-scale-depth-decr": 0.5, "head-scale-horiz-incr": 0.5, "head-scale-vert-decr": 0.13, "head-round": 0.22,
    "head-fat-decr": 0.18, "forehead-trans-forward": 0.3, "forehead-temple-incr": 0.2,
    "eyebrows-trans-down": 0.35, "eyebrows-trans-forward": 0.1,
    "eye-trans-up": 0.5, "eye-trans-out": 0.48, "eye-push1-out": 0.5, "eye-push2-out": 0.3, "eye-height1-incr": 0.22,
    "eye-height2-incr": 0.11, "eye-corner1-up": 0.18, "eye-corner2-up": 0.17,
    "nose-trans-up": 0.45, "nose-trans-forward": 0.1, "nose-point-up": 0.5, "nose-scale-depth-incr": 0.49,
    "nose-scale-vert-incr": 0.27, "nose-scale-horiz-decr": 0.24, "nose-greek-incr": 0.45, "nose-curve-convex": 0.45,
    "nose-compression-uncompress": 0.21, "nose-volume-decr": 0.23, "nose-width3-decr": 0.27,
    "nose-nostrils-angle-down": 0.27, "nose-nostrils-width-decr": 0.18, "nose-septumangle-decr": 0.23,
    "nose-base-down": 0.16,
    "mouth-trans-down": 0.5, "mouth-trans-backward": 0.5, "mouth-scale-depth-incr": 0.5, "mouth-scale-horiz-incr": 0.12,
    "mouth-angles-down": 0.39, "mouth-upperlip-volume-incr": 0.46, "mouth-upperlip-height-incr": 0.22,
    "mouth-upperlip-width-decr": 0.2, "mouth-upperlip-middle-down": 0.13, "mouth-lowerlip-height-incr": 0.18,
    "mouth-lowerlip-middle-up": 0.16, "mouth-lowerlip-ext-up": 0.15, "mouth-cupidsbow-incr": 0.1,
    "mouth-cupidsbow-width-decr": 0.11,
    "chin-triangle": 0.5, "chin-width-incr": 0.3, "chin-height-incr": 0.18, "chin-prominent-incr": 0.12,
}  # fmt: skip


def mean_weight(target: str, opposite: str | None) -> float:
    """The weight around which a target's varies, negative where its opposite's is meant.

    Args:
        target: Name of an identity target, ``"identity/l-eye-trans-up"``.
        opposite: Name of the one that undoes it; None: there is none.
    """
    return PROPORTIONS.get(_both_sides(target), 0.0) - (PROPORTIONS.get(_both_sides(opposite), 0.0) if opposite else 0)


def _both_sides(target: str) -> str:
    return target.removeprefix("identity/").removeprefix("l-").removeprefix("r-")


def mean_identity(names: Iterable[str]) -> dict[str, float]:
    """The weights of a head of these proportions, by name of target, out of the names of a head model's."""
    targets = (name for name in names if name.startswith("identity/"))
    return {name: PROPORTIONS[_both_sides(name)] for name in targets if _both_sides(name) in PROPORTIONS}
