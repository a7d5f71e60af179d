"""Convolutional expert networks (CEN), the patch experts of CE-CLM: small networks on contrast-normalised patches."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from clnf_torch.models import compiled
from clnf_torch.models.array_schema import TRUTH, WHOLE, Array
from clnf_torch.models.numerics import Numerics
from clnf_torch.models.patch_experts.base import PatchExperts, common_fields, type_name
from clnf_torch.models.patch_experts.mlp_stack import MLPStack
from clnf_torch.models.patch_experts.patches import cut_patches, lay_out
from clnf_torch.models.schema import Context, Fields, SchemaError, refuse

# A block whose weights and activations stay in a core's cache; see benchmarks/README.md
CPU_EXPERTS, CPU_ROWS = 4, 480
# Activations of one block on other devices: 1 GiB of float32
CUDA_NUMBERS = 1 << 28
# Groups of experts of one shape, beyond those of any model
MOST_STACKS = 256


class Run(NamedTuple):
    """Neighbouring experts of a stack that serve equally many landmarks in a view."""

    stack: int
    start: int  # first expert, counted within the stack
    landmarks: list[list[int]]  # the landmarks that each expert serves


class CENExperts(PatchExperts):
    """CEN experts of one scale.

    A landmark without an expert of its own borrows its mirror image's, which is shown the area mirrored.

    Args:
        scale: Pixels per millimetre.
        support: Side S of the patches.
        view_centers: Euler angles in radians, shape (V, 3).
        visible: bool, shape (V, N).
        confidence: Shape (V, N).
        expert: Number of the expert that serves each landmark in each view, -1 for none, int64, shape (V, N).
        flipped: Whether that expert is its mirror image's, bool, shape (V, N).
        stacks: The experts, numbered through the stacks in their order; grouped by depth and activations.

    Source:
        OpenFace ``CEN_patch_expert``, ``Patch_experts::Response``.
    """

    name = "cen"
    # OpenFace widens the kernel and weakens the prior for CE-CLM
    sigma_factor = 1.5
    regularisation_factor = 0.9

    def __init__(
        self,
        scale: float,
        support: int,
        view_centers: Tensor,
        visible: Tensor,
        confidence: Tensor,
        expert: Tensor,
        flipped: Tensor,
        stacks: Sequence[MLPStack],
    ) -> None:
        super().__init__(scale, support, view_centers, visible, confidence)
        self.stacks = torch.nn.ModuleList(stacks)
        self.expert: Tensor
        self.flipped: Tensor
        self.register_buffer("expert", expert, persistent=False)
        self.register_buffer("flipped", flipped)
        # Known to the host
        self._mirrors = [_extent(flipped[view][visible[view]]) for view in range(len(flipped))]
        sizes = [len(stack) for stack in stacks]
        self._runs = [list(_runs(view_experts, sizes)) for view_experts in expert.tolist()]
        for view, runs in enumerate(self._runs):
            for k, run in enumerate(runs):
                self.register_buffer(
                    f"_landmarks_{view}_{k}", torch.tensor(run.landmarks, device="cpu"), persistent=False
                )
        self._widest = max(stack.widest for stack in stacks)
        self._firsts = [sum(sizes[:stack]) for stack in range(len(sizes))]
        for stack, first in enumerate(self._firsts):
            served = ((expert >= first) & (expert < first + sizes[stack])).any(0).nonzero().squeeze(1)
            self.register_buffer(f"_served_{stack}", served, persistent=False)

    @classmethod
    def record(
        cls,
        *,
        scale: float,
        support: int,
        view_centers: Tensor,
        visible: Tensor,
        confidence: Tensor,
        expert: Tensor,
        flipped: Tensor,
        stacks: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        """The fields of experts in a bundle; arguments as of the class, but for `stacks`: see `MLPStack.record`."""
        views = {"view_centers": view_centers.double(), "visible": visible, "confidence": confidence.double()}
        served = {"expert": expert, "flipped": flipped, "stacks": list(stacks)}
        return {"family": cls.name, "scale": scale, "support": support, **views, **served}

    def to_record(self) -> dict[str, Any]:
        """The experts as a bundle holds them."""
        names = ("scale", "support", "view_centers", "visible", "confidence", "expert", "flipped")
        stacks = [cast(MLPStack, stack).to_record() for stack in self.stacks]
        return self.record(**{name: getattr(self, name) for name in names}, stacks=stacks)

    @classmethod
    def check_record(cls, record: Mapping[str, Any], where: str, context: Context) -> None:
        """See `Experts.check_record`."""
        super().check_record(record, where, context)
        stacks, pixels = record.get("stacks"), record["support"] ** 2
        if not isinstance(stacks, (list, tuple)) or not 1 <= len(stacks) <= MOST_STACKS:
            raise refuse(f"{where}.stacks", f"a list of 1 to {MOST_STACKS} groups of experts", stacks)
        stored = sum(
            MLPStack.check_record(stack, f"{where}.stacks[{k}]", context.inner(), pixels)
            for k, stack in enumerate(stacks)
        )
        expert = Array("V", "N", dtypes=WHOLE, low=-1, high=stored - 1)
        Fields({"expert": expert, "flipped": Array("V", "N", dtypes=TRUTH, low=0, high=1)}).check(
            record, where, context
        )
        if bool((record["visible"] & (record["expert"] < 0)).any()):
            raise SchemaError(f"{where}.expert: expected an expert for every visible landmark, found -1")

    @classmethod
    def from_record(cls, record: Mapping[str, Any], dtype: torch.dtype) -> "CENExperts":
        """The experts in a record; weights keep the number type they are stored in."""
        stacks = [MLPStack.from_record(stack) for stack in record["stacks"]]
        return cls(**common_fields(record, dtype), expert=record["expert"], flipped=record["flipped"], stacks=stacks)

    @classmethod
    def describe(cls, record: Mapping[str, Any]) -> Iterator[str]:
        """Lines that say what a record holds."""
        yield from super().describe(record)
        used, mirrored = int(record["visible"].sum()), int(record["flipped"].sum())
        stored = sum(len(stack["weights"][0]) for stack in record["stacks"])
        yield f"{stored} stored experts serve {used} landmarks over all views, {mirrored} mirrored"
        for stack in record["stacks"]:
            first, *_, last = stack["weights"]
            layers = "-".join(map(str, [*(weights.shape[1] for weights in stack["weights"]), last.shape[2]]))
            yield f"{len(first)} x {layers}, {' '.join(stack['activations'])}, {type_name(first)}"

    def respond(self, areas: Tensor, view: int, numerics: Numerics) -> Tensor:
        """Responses (B, N, R, R) of one view's experts to areas (B, N, A, A)."""
        faces, num_landmarks, width, _ = areas.shape
        window = width - self.support + 1
        if compiled.usable(areas, self.stacks.parameters()):
            return self._respond_compiled(areas, view, numerics.checkerboard)
        if self._has_programs_for(areas, numerics.precision):
            return self.respond_in_tiles(areas[None], self.expert.new_full((1,), view), numerics)[0]
        cells = window * window // 2 if numerics.checkerboard else window * window
        areas = self._mirror(areas, view)
        answers = areas.new_zeros(num_landmarks, faces, cells)
        for k, run in enumerate(self._runs[view]):
            landmarks = self.get_buffer(f"_landmarks_{view}_{k}")  # (experts, uses)
            answers[landmarks] = self._answer(run, areas[:, landmarks].permute(1, 2, 0, 3, 4), numerics.checkerboard)
        return self._mirror(lay_out(answers.transpose(0, 1), numerics.checkerboard), view)

    def _respond_compiled(self, areas: Tensor, view: int, checkerboard: bool) -> Tensor:
        """`respond` as compiled loops."""
        window = areas.shape[-1] - self.support + 1
        responses = areas.new_zeros(*areas.shape[:2], window, window)
        for k, run in enumerate(self._runs[view]):
            stack, landmarks = cast(MLPStack, self.stacks[run.stack]), self.get_buffer(f"_landmarks_{view}_{k}")
            layers = list(stack.weights), list(stack.biases)
            mirrored, names = self.flipped[view], stack.activations
            compiled.kernels().respond_with_mlps(
                areas, run.start, landmarks, mirrored, layers, names, checkerboard, responses
            )
        return responses

    def respond_in_tiles(self, areas: Tensor, views: Tensor, numerics: Numerics) -> Tensor:
        """Responses (T, F, N, R, R) to areas (T, F, N, A, A) of tiles of faces, each tile of one view (T,)."""
        window = areas.shape[-1] - self.support + 1
        cells = window * window // 2 if numerics.checkerboard else window * window
        flipped = self.flipped[views][:, None, :, None, None]
        if self._has_programs_for(areas, numerics.precision):
            answers = self._answer_in_programs(areas, views, cells, numerics)
        else:
            shown = torch.where(flipped, areas.flip(-1), areas).transpose(1, 2)  # (T, N, F, A, A)
            tiles = max(1, CUDA_NUMBERS // (shown.shape[1] * shown.shape[2] * max(1, cells) * self._widest))
            blocks = zip(shown.split(tiles), self.expert[views].split(tiles), strict=True)
            answers = torch.cat([self._answer_in_tiles(*block, cells, numerics.checkerboard) for block in blocks])
        responses = lay_out(answers.transpose(1, 2), numerics.checkerboard)
        return torch.where(flipped, responses.flip(-1), responses)

    def _has_programs_for(self, areas: Tensor, precision: str) -> bool:
        """Whether Triton's programs can answer to areas."""
        if not compiled.usable_on_card(areas, self.stacks.parameters()):
            return False
        own = compiled.card_kernels(areas.device)
        return all(own.holds(cast(MLPStack, stack).weights, precision) for stack in self.stacks)

    def _answer_in_programs(self, areas: Tensor, views: Tensor, cells: int, numerics: Numerics) -> Tensor:
        """Answers (T, N, F, cells) of the experts of tiles' views to areas (T, F, N, A, A), in a launch for a stack."""
        tiles, faces, landmarks = areas.shape[:3]
        answers = areas.new_zeros(tiles, landmarks, faces, cells)
        for number, (module, first) in enumerate(zip(self.stacks, self._firsts, strict=True)):
            stack, served = cast(MLPStack, module), self.get_buffer(f"_served_{number}")
            compiled.card_kernels(areas.device).respond_with_mlps(
                areas,
                served,
                self.expert[views][:, served],
                self.flipped[views][:, served],
                first,
                (list(stack.weights), list(stack.biases)),
                stack.activations,
                self.support,
                numerics.checkerboard,
                numerics.precision,
                answers,
            )
        return answers

    def _answer_in_tiles(self, areas: Tensor, experts: Tensor, cells: int, checkerboard: bool) -> Tensor:
        """Answers (T, N, F, cells) of the experts (T, N), -1 for none, of each tile to areas (T, N, F, A, A)."""
        answers = areas.new_zeros(*areas.shape[:3], cells)
        for number, (module, first) in enumerate(zip(self.stacks, self._firsts, strict=True)):
            stack, served = cast(MLPStack, module), self.get_buffer(f"_served_{number}")
            own = experts[:, served] - first
            patches = cut_patches(areas[:, served], self.support, checkerboard)
            answer = stack(patches.flatten(2, 3).flatten(0, 1), own.clamp(0, len(stack) - 1).flatten())
            answer = answer.view(*own.shape, *answers.shape[2:])
            here = ((own >= 0) & (own < len(stack)))[..., None, None]
            answers = answers.index_copy(1, served, torch.where(here, answer, answers[:, served]))
        return answers

    def _mirror(self, maps: Tensor, view: int) -> Tensor:
        """Maps (B, N, A, A) of landmarks with borrowed experts mirrored left to right; the others as they are."""
        if self._mirrors[view] == "none":
            return maps
        mirrored = maps.flip(-1)
        return (
            mirrored if self._mirrors[view] == "all" else torch.where(self.flipped[view, :, None, None], mirrored, maps)
        )

    def _answer(self, run: Run, areas: Tensor, checkerboard: bool) -> Tensor:
        """Answers (experts, uses, B, cells) of a run of experts to areas (experts, uses, B, A, A), block by block."""
        stack = cast(MLPStack, self.stacks[run.stack])
        window = areas.shape[-1] - self.support + 1
        # Per expert and face
        rows = areas.shape[1] * (window * window // 2 if checkerboard else window * window)
        some_experts, some_faces = _block(areas, rows, stack.widest)
        answers = []
        for first in range(0, areas.shape[0], some_experts):
            blocks = []
            for block in areas[first : first + some_experts].split(some_faces, dim=2):
                patches = cut_patches(block, self.support, checkerboard)
                answer = stack(patches.flatten(1, 3), run.start + first)
                blocks.append(answer.view(patches.shape[:-1]))
            answers.append(torch.cat(blocks, dim=2))
        return torch.cat(answers)


def _block(areas: Tensor, rows: int, widest: int) -> tuple[int, int]:
    """How many experts, and how many faces of `rows` rows each, to evaluate at once."""
    # A window of 1 has a checkerboard without cells
    faces, rows = areas.shape[2], max(1, rows)
    if areas.device.type == "cpu":
        faces = max(1, min(faces, CPU_ROWS // rows))
        return max(CPU_EXPERTS, CPU_EXPERTS * CPU_ROWS // (rows * faces)), faces
    faces = max(1, min(faces, CUDA_NUMBERS // (rows * widest)))
    return max(1, CUDA_NUMBERS // (rows * widest * faces)), faces


def _extent(flags: Tensor) -> str:
    """Whether all, some or none of some flags are set."""
    return "none" if not flags.any() else "all" if flags.all() else "some"


def _runs(experts: list[int], sizes: list[int]) -> Iterator[Run]:
    """The runs of a view, given the expert of each landmark (-1: none) and the number of experts in each stack."""
    served: dict[int, list[int]] = {}
    for landmark, number in enumerate(experts):
        if number >= 0:
            served.setdefault(number, []).append(landmark)
    numbers = sorted(served)
    firsts = [sum(sizes[:stack]) for stack in range(len(sizes))]
    stack_of = {number: max(s for s, first in enumerate(firsts) if first <= number) for number in numbers}
    start = 0
    for i, number in enumerate(numbers):
        last = i + 1 == len(numbers)
        follower = None if last else numbers[i + 1]
        if (
            follower is None
            or follower != number + 1
            or stack_of[follower] != stack_of[number]
            or len(served[follower]) != len(served[number])
        ):
            run = numbers[start : i + 1]
            yield Run(stack_of[number], run[0] - firsts[stack_of[number]], [served[e] for e in run])
            start = i + 1
