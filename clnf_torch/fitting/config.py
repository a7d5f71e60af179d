"""The settings of a fit, OpenFace's presets, and how they change with the scale."""

import math
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import torch
from torch import Tensor

from clnf_torch.geometry.records import loadable
from clnf_torch.geometry.settings import check_settings
from clnf_torch.models.patch_experts.base import Experts


@loadable
@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Settings of a multi-scale fit; defaults from OpenFace's ``FaceModelParameters`` for any model but CE-CLM.

    Attributes:
        window_sizes: Side of the response windows at each scale, reference pixels, odd; 0 skips the scale.
        iterations: Steps at most, rigid and non-rigid each.
        sigma: Width of the mean-shift kernel, response cells; one, or one per scale.
        regularisation: Weight of the shape prior; one, or one per scale; or one per face, a tensor of shape (B,), which
            must be that of the faces of the call. Faces whose number is negative, NaN or infinite are unsuccessful.
        weight_factor: Landmarks weigh this times their experts' confidence; 0: all weigh 1.
        adapt: OpenFace's ``refine_parameters``: sigma, regularisation and weight change with the scale.
        any_size: Shifts count in reference pixels, so that the prior weighs the same on faces of any size.
        tolerance: Stop when the shape moves less, pixels over all coordinates; 0 for a fixed number of iterations.
        multi_view: Try eleven rotation hypotheses instead of the frontal one.

    Raises:
        ValueError: No fit can run with these settings.
    """

    window_sizes: tuple[int, ...] = (11, 9, 7, 5)
    iterations: int = 5
    sigma: float | tuple[float, ...] = 1.5
    regularisation: float | tuple[float, ...] | Tensor = 25.0
    weight_factor: float = 0.0
    adapt: bool = True
    any_size: bool = False
    tolerance: float = 0.01
    multi_view: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that no fit can run with."""
        check_settings(self)
        odd = [window for window in self.window_sizes if window < 0 or (window and window % 2 == 0)]
        if odd:
            raise ValueError(f"window_sizes {self.window_sizes} hold {odd[0]}; give odd windows, or 0 to skip a scale")
        if not any(self.window_sizes):
            raise ValueError(f"window_sizes {self.window_sizes} skip every scale; give at least one odd window")
        per_face = self.regularisation
        if isinstance(per_face, Tensor) and (per_face.ndim > 1 or per_face.is_complex()):
            found = f"{str(per_face.dtype).removeprefix('torch.')} of shape {tuple(per_face.shape)}"
            raise ValueError(f"regularisation is {found}; expected real numbers, one per face, (B,)")
        # Of a prior per face each row decides for itself
        prior = () if isinstance(self.regularisation, Tensor) else _each(self.regularisation)
        others = (*prior, self.weight_factor, self.tolerance)
        valid = self.iterations >= 1 and all(sigma > 0 for sigma in _each(self.sigma))
        # NaN is refused too
        if not (valid and all(value >= 0 for value in others)):
            raise ValueError(f"{self} needs iterations >= 1, sigma > 0, and nothing negative")

    def __eq__(self, other: object) -> bool:
        """Whether all settings are equal; of a prior per face, all of its numbers."""
        if not isinstance(other, FitConfig):
            return NotImplemented
        mine, theirs = dict(vars(self)), dict(vars(other))
        priors = mine.pop("regularisation"), theirs.pop("regularisation")
        return mine == theirs and _same(*priors)

    def __hash__(self) -> int:
        """Equal for equal settings; a prior per face counts for nothing, so that it need not be read."""
        return hash(tuple(value for value in vars(self).values() if not isinstance(value, Tensor)))

    def at_scale(self, index: int, patch_scales: tuple[float, ...]) -> "FitConfig":
        """The settings at one scale, each of them one number (or one per face).

        Args:
            index: The scale, 0 being the coarsest.
            patch_scales: Pixels per millimetre of every scale's reference frame.

        Source:
            OpenFace ``CLNF::Fit``. OpenFace: scales after the third are treated as the third, and a regularisation that
            falls to 0 or below becomes 0.001.
        """
        if isinstance(self.regularisation, Tensor):
            lowered = self.regularisation - 15 * _finer(self, index, patch_scales)
            numbers = _at_scale(replace(self, regularisation=0.0), index, patch_scales)
            return replace(numbers, regularisation=torch.where(lowered > 0, lowered, 0.001))
        return _at_scale(self, index, patch_scales)

    def prior_precision(self, variances: Tensor) -> Tensor:
        """Weight of the prior on each shape coefficient at one scale: less on modes that vary much.

        Args:
            variances: Variance of each mode's coefficient, shape (M,).

        Returns:
            Shape (1 or B, M).
        """
        given = self.regularisation
        if not isinstance(given, Tensor):
            # Filled on the device: a number from the host would be a transfer
            given = variances.new_full((1,), value_at(given, 0))
        return given.to(variances).reshape(-1, 1) / variances

    def for_family(self, family: type[Experts]) -> "FitConfig":
        """The settings as OpenFace changes them for a family: a wider kernel and a weaker prior for CE-CLM.

        Of a family with presets of its own, OpenFace's preset becomes its preset of that name.
        """
        name = next((name for name, preset in PRESETS.items() if preset is self), None)
        if name is not None and name in family.fit_presets:
            return FitConfig(**family.fit_presets[name])
        sigma = tuple(family.sigma_factor * value for value in _each(self.sigma))
        factor, given = family.regularisation_factor, self.regularisation
        regularisation = (
            factor * given if isinstance(given, Tensor) else _alone(tuple(factor * v for v in _each(given)))
        )
        return replace(self, sigma=_alone(sigma), regularisation=regularisation)


def _each(value: float | tuple[float, ...]) -> tuple[float, ...]:
    """A setting as one number per scale, or one for all."""
    return value if isinstance(value, tuple) else (value,)


def _alone(values: tuple[float, ...]) -> float | tuple[float, ...]:
    """The other way round."""
    return values[0] if len(values) == 1 else values


def _same(one: float | tuple[float, ...] | Tensor, other: float | tuple[float, ...] | Tensor) -> bool:
    """Whether two settings, either of which may be a tensor, are equal; tensors also in number type and device."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        alike = (one.dtype, one.device, one.shape) == (other.dtype, other.device, other.shape)
        return one is other or (alike and torch.equal(one, other))
    return not isinstance(one, Tensor) and not isinstance(other, Tensor) and one == other


def value_at(value: float | tuple[float, ...], index: int) -> float:
    """A setting at one scale; the last number holds for all scales after it."""
    values = _each(value)
    return values[min(index, len(values) - 1)]


PRESETS = {
    "default": FitConfig(),
    "tracking": FitConfig(window_sizes=(0, 9, 7, 0)),
    "wild": FitConfig(
        window_sizes=(15, 13, 11, 11),
        iterations=10,
        sigma=1.25,
        regularisation=35.0,
        weight_factor=2.5,
        multi_view=True,
    ),
}

# By the part's name; OpenFace: the eyes' third window belongs to a scale that no file has
PART_PRESETS = {
    "left_eye": FitConfig(window_sizes=(5, 3), sigma=2.0, regularisation=0.1, adapt=False),
    "right_eye": FitConfig(window_sizes=(5, 3), sigma=2.0, regularisation=0.1, adapt=False),
    "left_eye_28": FitConfig(window_sizes=(3, 5, 9), sigma=1.0, regularisation=0.5, adapt=False),
    "right_eye_28": FitConfig(window_sizes=(3, 5, 9), sigma=1.0, regularisation=0.5, adapt=False),
    "mouth": FitConfig(window_sizes=(7, 7), sigma=2.0, regularisation=1.0, adapt=False),
    "brow": FitConfig(window_sizes=(11, 9), sigma=3.5, regularisation=10.0, adapt=False),
    "inner": FitConfig(window_sizes=(9,), sigma=1.75, regularisation=2.5, weight_factor=2.5, adapt=False),
}


def _finer(config: FitConfig, index: int, patch_scales: tuple[float, ...]) -> float:
    """How often the coarsest reference frame of OpenFace's models doubles up to a scale's; 0 where nothing adapts."""
    return math.log2(patch_scales[min(index, 2)] / 0.25) if config.adapt else 0.0


# Far more than a program has settings, scales of its models, and parts
@lru_cache(1024)
def _at_scale(config: FitConfig, index: int, patch_scales: tuple[float, ...]) -> FitConfig:
    """See `FitConfig.at_scale`; made once for settings without a prior per face."""
    finer = _finer(config, index, patch_scales)
    assert not isinstance(config.regularisation, Tensor)
    number = value_at(config.regularisation, index) - 15 * finer
    return replace(
        config,
        sigma=value_at(config.sigma, index) + 0.25 * finer,
        regularisation=0.001 if number <= 0 else number,
        weight_factor=config.weight_factor * (1 + 2 * finer),
    )


@cache
def part_preset(name: str, family: type[Experts] | None = None) -> FitConfig:
    """A family's own settings of a part, else OpenFace's; of a part it does not know, those of CE-CLM."""
    if family is not None and name in family.part_presets:
        return FitConfig(**family.part_presets[name])
    other = replace(FitConfig(adapt=False), sigma=2.25, regularisation=22.5)
    return PART_PRESETS.get(name, other)


@cache
def preset_named(name: str, family: type[Experts]) -> FitConfig:
    """The settings of that name for a family of experts: its own, or OpenFace's where it has none.

    Raises:
        ValueError: There is no such preset.
    """
    presets = {own: FitConfig(**fields) for own, fields in family.fit_presets.items()} or PRESETS
    if name not in presets:
        raise ValueError(
            f"preset {name!r} is not known; choose one of {', '.join(map(repr, presets))}, or give a FitConfig"
        )
    return presets[name].for_family(family)
