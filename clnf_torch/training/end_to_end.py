"""End-to-end training of any experts: the error of the final landmarks (NME) is propagated through the whole fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from clnf_torch.fitting.config import FitConfig, preset_named
from clnf_torch.geometry.boxes import box_around
from clnf_torch.geometry.records import join_rows
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import EXACT
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.augmentation.one_sided import with_one_sided
from clnf_torch.training.augmentation.photometric import ImageAugmentation
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.checkpoint import Checkpoint
from clnf_torch.training.data.boxes import boxes_to_start_from, perturb_boxes
from clnf_torch.training.data.crops import FaceCrops, split_held_out
from clnf_torch.training.trainer import EarlyStopping, Report, Schedule, Task, Trainer


@dataclass(frozen=True, kw_only=True)
class EndToEndConfig:
    """How a model is trained end to end."""

    steps: int = 200
    batch: int = 4  # faces in a step
    learning_rate: float = 1e-5  # of Adam
    max_grad_norm: float = 1.0  # gradients are clipped to this norm
    size: float = 0.05  # of the boxes that fits start from: see `perturb_boxes`
    center: float = 0.03
    far_off: float = 0.0  # probability of boxes far off their faces to train from: see `boxes_to_start_from`
    one_sided: bool = False  # also on copies of the faces whose sides moved each for itself: see `OneSided`
    held_out: int = 10  # every so-many-th face is held out to judge by; 0: none is
    judge_every: int = 50  # steps
    fit: FitConfig | None = None  # None: the default preset of the model's family
    augmentation: ImageAugmentation = field(default_factory=ImageAugmentation)
    seed: int = 0


def learnable_experts(model: LandmarkModel) -> list[nn.Parameter]:
    """The floating point numbers of a model's experts, asking for gradients; copies in float32, not in any file."""
    parameters = [parameter for parameter in model.experts.parameters() if parameter.is_floating_point()]
    for parameter in parameters:
        parameter.data = parameter.detach().float().clone()
        parameter.requires_grad_()
    return parameters


class EndToEndTask(Task):
    """End-to-end training of a detector's model, with early stopping; a round is a step.

    Args:
        detector: With parameters that ask for gradients.
        learn: Faces to train on.
        judges: Faces to judge by.
        config: Settings.
    """

    early_stopping: EarlyStopping

    def __init__(self, detector: LandmarkDetector, learn: FaceCrops, judges: FaceCrops, config: EndToEndConfig) -> None:
        self.detector, self.learn, self.config = detector, learn, config
        self.schedule = Schedule(
            rounds=config.steps,
            learning_rate=config.learning_rate,
            max_grad_norm=config.max_grad_norm,
            judge_every=config.judge_every,
            save_every=config.judge_every,
        )
        self.generators = (torch.Generator().manual_seed(config.seed),)
        parameters = [parameter for parameter in detector.model.parameters() if parameter.requires_grad]
        self.module = nn.ParameterList(parameters)
        self.optimiser = torch.optim.Adam(parameters, lr=config.learning_rate)
        self.early_stopping = EarlyStopping(parameters, lambda: _judge(detector, judges, config))

    def losses(self) -> Iterator[Tensor]:
        """The mean error of the fits of some faces.

        Where the model's landmarks are means over several scales, those of one alone count, another one in each step:
        a network that only has to be right together with others leaves to them what they do well.
        """
        config, sampler = self.config, Sampler(self.generators[0], self.learn.landmarks.device)
        faces = self.learn[torch.randint(len(self.learn), (config.batch,), generator=sampler.generator)]
        gray = config.augmentation(faces.gray.float(), faces.landmarks, sampler)
        boxes = boxes_to_start_from(faces.landmarks, config.far_off, sampler, config.size, config.center)
        shown = FaceCrops(gray=gray, landmarks=faces.landmarks)
        with _one_scale(self.detector.model, sampler):
            errors = fit_errors(self.detector, shown, boxes, config)
        yield errors.mean()


@contextmanager
def _one_scale(model: LandmarkModel, sampler: Sampler) -> Iterator[None]:
    """The model with the centroids of a single scale, drawn at random, in its landmarks."""
    whole = model.refinement
    if whole is not None and whole.scales > 1:
        model.refinement = whole.of_one_scale(int(sampler.integers(whole.scales, 1)))
    try:
        yield
    finally:
        model.refinement = whole


def train_end_to_end(
    detector: LandmarkDetector,
    faces: FaceCrops,
    config: EndToEndConfig | None = None,
    report: Report = lambda *_: None,
    checkpoint: Checkpoint | None = None,
    judges: FaceCrops | None = None,
) -> tuple[float, float]:
    """Trains those parameters of a detector's model that ask for gradients, in place.

    The loss is the normalised mean error (NME) of the fitted landmarks, by the face's size. Early stopping: in the end
    the parameters are those of the smallest error on held-out faces, those before the first step included.

    Args:
        detector: Any experts, with numerics "exact", on the device of the faces.
        faces: Annotated faces.
        config: Settings.
        report: Told after every step.
        checkpoint: From which the same call resumes. None: there is none.
        judges: Faces to judge by; then none of `faces` is held out. Give some where the networks were trained on
            `faces` before: what they know by heart does not tell when to stop.

    Returns:
        The error of the faces to judge by before and after: the judges or the held-out ones, or the faces themselves
        where none is held out: by the settings, or because they are too few.

    Raises:
        ValueError: The numerics are not exact, no parameter asks for a gradient, or there are no faces.
        CheckpointError: The checkpoint is of another training.
    """
    config = config or EndToEndConfig()
    if detector.numerics != EXACT:
        raise ValueError(
            f"the numerics are {detector.numerics.name!r}; gradients need a detector with numerics 'exact'"
        )
    if not any(parameter.requires_grad for parameter in detector.model.parameters()):
        raise ValueError("no parameter of the model asks for a gradient; call learnable_experts(detector.model) first")
    if not len(faces):
        raise ValueError("there are no faces to train on; give at least one")
    if judges is None:
        numbers = torch.arange(len(faces))
        every, none = config.held_out, torch.zeros(len(faces), dtype=torch.bool)
        learn, judged = split_held_out(numbers % every == every // 2 if every else none)
        faces, judges = faces[learn], faces[judged]
    if config.one_sided:
        sampler = Sampler(torch.Generator().manual_seed(config.seed), faces.gray.device)
        faces = join_rows(faces, with_one_sided(faces, sampler))
    task = EndToEndTask(detector, faces, judges, config)
    Trainer(task).run("end to end", checkpoint, report)
    return task.early_stopping.before.item(), task.early_stopping.error.item()


def fit_errors(detector: LandmarkDetector, faces: FaceCrops, boxes: Tensor, config: EndToEndConfig) -> Tensor:
    """Normalised mean error (NME) of each fit, shape (B,): mean distance over the square root of the box's area.

    Faces whose fit is lost, and those whose landmarks enclose nothing, count 0 and send no gradients.
    """
    preset = replace(config.fit or preset_named("default", detector.model.family), tolerance=0.0, multi_view=False)
    image_index = torch.arange(len(faces), device=boxes.device)
    found = detector.fit(faces.gray[:, None], boxes, image_index, preset=preset, parts=False, validate=False)
    size = box_around(faces.landmarks)[:, 2:].prod(-1).sqrt()
    counted = found.success & (size > 0) & found.landmarks.isfinite().all(-1).all(-1)
    # Before the square root: the gradient of what is not finite is none, even where nobody asks for it
    away = torch.where(counted[:, None, None], found.landmarks - faces.landmarks, 0)
    errors = away.square().sum(-1).add(1e-6).sqrt().mean(-1) / torch.where(counted, size, 1)
    return torch.where(counted, errors, 0)


@torch.no_grad()
def _judge(detector: LandmarkDetector, faces: FaceCrops, config: EndToEndConfig) -> Tensor:
    """Mean error of faces, float64, boxes, pen marks and edges the same every time; lost ones count as a face size."""
    generator = torch.Generator().manual_seed(config.seed)
    sampler, clear = Sampler(generator, faces.landmarks.device), replace(config.augmentation, photometric=False)
    faces = FaceCrops(gray=clear(faces.gray.float(), faces.landmarks, sampler), landmarks=faces.landmarks)
    boxes = perturb_boxes(faces.landmarks, generator, config.size, config.center)
    rows = torch.arange(len(faces)).split(config.batch)
    errors = torch.cat([fit_errors(detector, faces[some], boxes[some], config) for some in rows])
    return torch.where(errors > 0, errors, 1.0).mean().cpu().double()
