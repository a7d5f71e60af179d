"""A landmark model: a shape, and for each scale the patch experts that look for its landmarks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from clnf_torch.models.depth_shape import DepthShape
from clnf_torch.models.gaze_network import GazeNetwork
from clnf_torch.models.landmark_error import LandmarkErrorModel
from clnf_torch.models.patch_experts.base import Experts
from clnf_torch.models.pdm import PDM
from clnf_torch.models.plugins import PATCH_EXPERTS, PluginError, registered, registered_names
from clnf_torch.models.refinement import Refinement

Families = Mapping[str, type[Experts]]
"""Classes of patch experts by their `name`."""
# The family in the record of experts that are asked once more, at their own scale
REPEAT = "repeat"
# Names of families in bundles of version 0.1 of the package
OLD_NAMES = {"joint": "heatmap"}
# The rows of the early-termination numbers, as a bundle names them
EARLY_TERMINATION = ("weights", "biases", "cutoffs")


class LandmarkModel(nn.Module):
    """PDM and patch experts that belong together.

    Args:
        pdm: The shape model of N landmarks.
        experts: Patch experts per scale, coarse to fine, each for the same N landmarks.
        early_termination: When a rotation hypothesis is good enough after the first scale: weight, bias and cutoff for
            each view, so that likelihood * weight + bias > cutoff; shape (3, V).
        triangulations: Triangles between landmarks for each view, for drawing, int64, each (T, 3).
        parts: Finer models of regions of the face, in the order in which they are folded back.
        refinement: The last step of its fits; None: landmarks are those of the fitted shape.
        error_model: Tells how far landmarks are expected to be off; None: nothing does.
        depth_shape: The shape by which fits are measured in space; None: the PDM, as OpenFace has it.
        gaze_network: Tells where eyes look; None: their landmarks do, as OpenFace has it.

    Raises:
        ValueError: There are no experts, or they are for another number of landmarks.

    Source:
        OpenFace ``CLNF``, the part that is read from files.
    """

    def __init__(
        self,
        pdm: PDM,
        experts: Sequence[Experts],
        early_termination: Tensor | None = None,
        triangulations: Sequence[Tensor] = (),
        parts: Sequence["Part"] = (),
        refinement: Refinement | None = None,
        error_model: LandmarkErrorModel | None = None,
        depth_shape: DepthShape | None = None,
        gaze_network: GazeNetwork | None = None,
    ) -> None:
        super().__init__()
        counts = [scale.visible.shape[1] for scale in experts]
        if not counts or set(counts) != {pdm.num_landmarks}:
            raise ValueError(
                f"the PDM has {pdm.num_landmarks} landmarks, the patch experts of the scales are for {counts}"
            )
        if depth_shape is not None and depth_shape.pdm.num_landmarks != pdm.num_landmarks:
            other = depth_shape.pdm.num_landmarks
            raise ValueError(f"the depth shape has {other} landmarks, the PDM has {pdm.num_landmarks}")
        self.pdm = pdm
        self.experts = nn.ModuleList(experts)
        # Not asked again: `torch.export` shows modules of other classes
        self._family = _common_class([type(scale) for scale in experts])
        self.triangulations = tuple(triangulations)
        self._parts = nn.ModuleList(parts)
        self.refinement, self.error_model, self.depth_shape = refinement, error_model, depth_shape
        self.gaze_network = gaze_network
        self.early_termination: Tensor | None
        self.register_buffer("early_termination", early_termination)

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """All modules, those that several scales or parts share once, whatever is asked for.

        `torch.func.functional_call` asks for each of their names, exchanges their numbers under each, and would so put
        back what it was given itself: the model would keep them.
        """
        yield from super().named_modules(memo, prefix)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """All numbers by their names, those of modules that several scales or parts share under their first alone.

        `named_modules` has no other, and what `torch.func.functional_call` is given by another, the model would keep.
        """
        found = super().state_dict(*args, **kwargs)
        prefix = kwargs.get("prefix", "")
        further = tuple(prefix + path for path in self._further_paths())
        for name in [name for name in found if further and name.startswith(further)]:
            del found[name]
        return found

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Gives shared modules their further names, by which torch goes on to ask; older files have them."""
        for path, first in self._further_paths().items():
            for name in [name for name in state_dict if name.startswith(prefix + first)]:
                state_dict.setdefault(prefix + path + name.removeprefix(prefix + first), state_dict[name])
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _further_paths(self) -> dict[str, str]:
        """The first path of modules by each of their further ones; paths end with a dot."""
        firsts: dict[nn.Module, str] = {}
        paths = [(path, firsts.setdefault(module, path)) for path, module in _paths(self)]
        return {path: first for path, first in paths if path != first}

    @staticmethod
    def record(
        *,
        pdm: Mapping[str, Any],
        experts: Sequence[Mapping[str, Any]],
        early_termination: Mapping[str, Any] | None = None,
        triangulations: Sequence[Tensor] = (),
        parts: Sequence[Mapping[str, Any]] = (),
        refinement: Mapping[str, Any] | None = None,
        error_model: Mapping[str, Any] | None = None,
        depth_shape: Mapping[str, Any] | None = None,
        gaze_network: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The fields of a model in a bundle, from the records of what it consists of."""
        return {
            "pdm": dict(pdm),
            "triangulations": list(triangulations),
            "early_termination": early_termination,
            "experts": list(experts),
            "parts": list(parts),
            "refinement": refinement,
            "error_model": error_model,
            "depth_shape": depth_shape,
            "gaze_network": gaze_network,
        }

    def to_record(self) -> dict[str, Any]:
        """The model as a bundle holds it; experts that are asked at several scales are written once."""
        first = [list(self.experts).index(experts) for experts in self.experts]
        early = self.early_termination
        return self.record(
            pdm=self.pdm.to_record(),
            experts=[
                self.experts_at(index).to_record() if number == index else {"family": REPEAT, "of": number}
                for index, number in enumerate(first)
            ],
            early_termination=None if early is None else early_termination_record(early),
            triangulations=self.triangulations,
            parts=[part.to_record() for part in self.parts],
            refinement=None if self.refinement is None else self.refinement.to_record(),
            error_model=None if self.error_model is None else self.error_model.to_record(),
            depth_shape=None if self.depth_shape is None else self.depth_shape.to_record(),
            gaze_network=None if self.gaze_network is None else self.gaze_network.to_record(),
        )

    @classmethod
    def from_record(cls, record: Mapping[str, Any], dtype: torch.dtype, families: Families) -> "LandmarkModel":
        """The model in a record of `to_record`.

        Args:
            record: The record.
            dtype: Number type of the shape model and of all arithmetic.
            families: The families of experts that may be in it.

        Raises:
            ValueError: A family is not known.
        """
        experts: list[Experts] = []
        for scale in record["experts"]:
            again = scale["family"] == REPEAT
            experts.append(experts[scale["of"]] if again else family_of(scale, families).from_record(scale, dtype))
        early, refinement = record.get("early_termination"), record.get("refinement")
        errors, depth, gaze = (record.get(name) for name in ("error_model", "depth_shape", "gaze_network"))
        return cls(
            PDM.from_record(record["pdm"], dtype),
            experts,
            torch.stack([early[name].to(dtype) for name in EARLY_TERMINATION]) if early else None,
            record["triangulations"],
            _parts_from(record.get("parts", ()), dtype, families),
            Refinement.from_record(refinement, dtype) if refinement else None,
            LandmarkErrorModel.from_record(errors, dtype) if errors else None,
            DepthShape.from_record(depth, dtype) if depth else None,
            GazeNetwork.from_record(gaze, dtype) if gaze else None,
        )

    @property
    def family(self) -> type[Experts]:
        """The class of its patch experts, of several that which all are of, or the first; settings are chosen by it."""
        return self._family

    def experts_at(self, index: int) -> Experts:
        """The patch experts of a scale, 0 being the coarsest."""
        return cast(Experts, self.experts[index])

    @property
    def patch_scales(self) -> tuple[float, ...]:
        """Pixels per millimetre of every scale's reference frame."""
        return tuple(self.experts_at(index).scale for index in range(self.num_scales))

    @property
    def parts(self) -> tuple["Part", ...]:
        """The finer models of regions of the face."""
        return tuple(cast(Part, part) for part in self._parts)

    @property
    def num_scales(self) -> int:
        """Number of scales."""
        return len(self.experts)


class Part(nn.Module):
    """A finer model of a region of the face, and which of its landmarks the whole face has too.

    Args:
        name: OpenFace's name of it, e.g. "left_eye_28"; settings are chosen by it.
        model: Shape and patch experts of the region.
        in_parent: Landmarks of the face that it shares, int64, shape (K,).
        in_part: Which of its own landmarks they are, int64, shape (K,).
        folds_back: Whether the face takes the part's landmarks over, as OpenFace's faces do; otherwise it only looks.

    Raises:
        ValueError: A shared landmark does not exist in the part, or the lists differ in length.

    Source:
        OpenFace ``CLNF::hierarchical_models`` and ``hierarchical_mapping``.
    """

    def __init__(
        self,
        name: str,
        model: LandmarkModel,
        in_parent: Tensor,
        in_part: Tensor,
        folds_back: bool = True,
    ) -> None:
        super().__init__()
        if in_parent.shape != in_part.shape or not in_part.numel() or int(in_part.max()) >= model.pdm.num_landmarks:
            raise ValueError(
                f"part {name!r} of {model.pdm.num_landmarks} landmarks shares {in_part.tolist()} with "
                f"{in_parent.tolist()} of the face; give pairs of landmarks that exist"
            )
        self.name, self.model, self.folds_back = name, model, folds_back
        self.in_parent: Tensor
        self.in_part: Tensor
        self.register_buffer("in_parent", in_parent)
        self.register_buffer("in_part", in_part)

    @staticmethod
    def record(name: str, in_parent: Tensor, in_part: Tensor, model: Mapping[str, Any], **own: Any) -> dict[str, Any]:
        """The fields of a part in a bundle; `model` is the record of one, `own` what OpenFace's parts do not have."""
        return {"name": name, "in_parent": in_parent, "in_part": in_part, "model": model, **own}

    def to_record(self) -> dict[str, Any]:
        """The part as a bundle holds it."""
        model = self.model.to_record()
        return self.record(self.name, self.in_parent, self.in_part, model, folds_back=self.folds_back)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], model: LandmarkModel) -> "Part":
        """The part in a record of `to_record`, given the model in it."""
        return cls(
            name=record["name"],
            model=model,
            in_parent=record["in_parent"],
            in_part=record["in_part"],
            folds_back=record.get("folds_back", True),
        )


def _common_class(classes: Sequence[type[Experts]]) -> type[Experts]:
    """The one among some classes that all of them are or descend from; the first where there is none."""
    common = (own for own in classes if all(issubclass(each, own) for each in classes))
    return next(common, classes[0])


def _parts_from(records: Sequence[Mapping[str, Any]], dtype: torch.dtype, families: Families) -> list[Part]:
    """The parts in records; those whose models are equal, as both eyes' may be, share one, and are fitted together."""
    models: list[LandmarkModel] = []
    for number, record in enumerate(records):
        first = next(before for before in range(number + 1) if _equal(records[before]["model"], record["model"]))
        known = first < number
        models.append(models[first] if known else LandmarkModel.from_record(record["model"], dtype, families))
    return [Part.from_record(record, model) for record, model in zip(records, models, strict=True)]


def _equal(one: Any, other: Any) -> bool:
    """Whether two records hold the same."""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        both = isinstance(one, Tensor) and isinstance(other, Tensor)
        return both and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def early_termination_record(early_termination: Tensor) -> dict[str, Tensor]:
    """Early-termination numbers (3, V) as a bundle holds them, float64."""
    return dict(zip(EARLY_TERMINATION, early_termination.double(), strict=True))


def family_of(record: Mapping[str, Any], families: Families) -> type[Experts]:
    """The class of the experts in a record: one of these families, or one that another package registers.

    Raises:
        ValueError: It is not known.
    """
    name = OLD_NAMES.get(record["family"], record["family"])
    family = families.get(name) or registered(PATCH_EXPERTS, name)
    if family is None:
        known = ", ".join(map(repr, (*families, *registered_names(PATCH_EXPERTS))))
        raise ValueError(
            f"the bundle holds {name[:40]!r} patch experts, this program knows {known}; use a newer version, or "
            "install the package that registers them"
        )
    if not (isinstance(family, type) and issubclass(family, Experts)):
        raise PluginError(f"{name[:40]}: registered in {PATCH_EXPERTS} as {family!r:.60}; expected a class of Experts")
    return family


def _paths(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """A module and all below it, shared ones by each of their paths, which end with a dot."""
    yield path, module
    for name, child in module._modules.items():
        if child is not None:
            yield from _paths(child, f"{path}{name}.")
