"""The one training loop: learning rate schedule, moving average of weights (EMA), early stopping, checkpoints."""

import ctypes
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.files.reading import InputError
from clnf_torch.models.array_schema import any_numbers, like
from clnf_torch.models.schema import Either, Fields, Number, Schema
from clnf_torch.training.checkpoint import Checkpoint, OptimiserState

Report = Callable[[str, int, int, float], None]
"""Called with what is trained, the rounds done, the rounds in all, and a loss, or what the task measures instead."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long a training takes, and when what happens. A round is one step, or one epoch, as the task has it."""

    rounds: int
    learning_rate: float  # the highest
    # Rounds of linear warm-up, before and while a cosine decay over all rounds; None: the learning rate is constant
    warm_up: int | None = None
    lowest: float = 0.0  # added to every learning rate of a cosine decay
    max_grad_norm: float | None = None  # longer gradients are clipped to this norm
    judge_every: int = 1  # rounds after which held-out faces are judged, where the task holds some out
    save_every: int = 250  # rounds after which a checkpoint is written

    def learning_rate_at(self, done: int) -> float:
        """The learning rate of the round after so many."""
        if self.warm_up is None:
            return self.learning_rate
        return cosine_schedule(done, self.rounds, self.learning_rate, self.warm_up) + self.lowest

    def is_due(self, every: int, done: int) -> bool:
        """Whether what happens after every so many rounds, and after the last one, happens after this one."""
        return done % every == 0 or done == self.rounds


def cosine_schedule(step: int, steps: int, highest: float, warm_up: int) -> float:
    """The learning rate of a step: linear warm-up over the first `warm_up` steps, times cosine decay down to 0."""
    falling = 0.5 + 0.5 * math.cos(math.pi * (step / steps))
    return highest * min(1.0, (step + 1) / warm_up) * falling


def mixed_precision(device: torch.device) -> torch.autocast:
    """Networks in bfloat16 where that is faster: on a GPU, and on a processor that multiplies it (AMX, AVX-512 BF16).

    With AVX-512 BF16 a step of heatmap experts takes 0.63 of the time, on a processor without both a third more.
    """
    # Older versions of torch do not say
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    fast = device.type != "cpu" or able.get("amx_bf16", False) or able.get("avx512_bf16", False)
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


class MovingAverage:
    """Exponential moving average (EMA) of a module's weights and buffers.

    Args:
        module: The module.
        decay: Share of the average that stays in a step; the first steps are forgotten sooner.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay = module, decay
        self.values = {name: value.clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes the weights after a step, counted from 1, into the average."""
        weight = 1 - min(self._decay, step / (step + 20))
        for name, value in self._module.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, weight)
            else:
                self.values[name].copy_(value)


class EarlyStopping:
    """Keeps the state of least error on held-out faces: early stopping, after the fact.

    Args:
        tensors: The state: parameters, and whatever `judge` writes beside them.
        judge: Measures the error: one number (), or one for each of E experts (E,) along the first axis of all tensors.
        start: The error to improve on; None: the error before the first round.
    """

    def __init__(self, tensors: Sequence[Tensor], judge: Callable[[], Tensor], start: Tensor | None = None) -> None:
        self._tensors, self._judge, self._start = list(tensors), judge, start
        self.best = [tensor.detach().clone() for tensor in self._tensors]
        self.before = self.error = torch.tensor(torch.nan, dtype=torch.float64)

    def begin(self) -> None:
        """Takes the state as it is for the best so far."""
        self.before = self.error = self._judge() if self._start is None else self._start

    @torch.no_grad()
    def judge(self) -> None:
        """Keeps the state, or that of some experts, if its error is smaller than ever."""
        error = self._judge()
        better = error < self.error
        self.error = torch.where(better, error, self.error)
        for best, tensor in zip(self.best, self._tensors, strict=True):
            rows = better.to(best.device).view(better.shape + (1,) * (best.ndim - better.ndim))
            best.copy_(torch.where(rows, tensor, best))

    @torch.no_grad()
    def restore_best(self) -> None:
        """Gives the tensors their best values back; they no longer ask for gradients."""
        for best, tensor in zip(self.best, self._tensors, strict=True):
            tensor.copy_(best)
            tensor.requires_grad_(False)

    def schema(self) -> dict[str, Schema]:
        """What the fields of a state must be; errors are one number or one for each expert, and may be infinite."""
        experts = (self.best[0].shape[:1] if self.best else (), ())
        error = Either(tuple(any_numbers(*shape, dtypes=(torch.float64,)) for shape in experts))
        return {"before": error, "error": error, "best": like(self.best)}

    def state(self) -> dict[str, Any]:
        """All that a checkpoint must hold."""
        return {"before": self.before, "error": self.error, "best": self.best}

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint; the tensors stay as they are."""
        self.before, self.error = state["before"], state["error"]
        for best, value in zip(self.best, state["best"], strict=True):
            best.copy_(value)


class DivergedError(InputError, ValueError):
    """A training whose loss is no number any more; its text is one line."""


class Task(ABC):
    """What a training has of its own; all that trainings have in common is the `Trainer`'s."""

    schedule: Schedule
    module: nn.Module  # whose weights are trained
    optimiser: torch.optim.Optimizer
    # From which all random numbers come, so that a checkpoint can hold their states
    generators: tuple[torch.Generator, ...]
    average: MovingAverage | None = None
    early_stopping: EarlyStopping | None = None

    @abstractmethod
    def losses(self) -> Iterator[Tensor]:
        """The loss of each batch of a round, drawn one by one: the weights move after each."""

    def after_step(self) -> None:  # noqa: B027, as most tasks have nothing to add
        """What happens to the weights besides the step of the optimiser."""

    def progress(self, loss: float) -> float:
        """What a report says: the last loss, or something better."""
        return loss


class AveragedTask(Task):
    """A task whose network is trained by AdamW, and that gives it with averaged weights (EMA).

    Args:
        module: The network, on the CPU; its convolutions are laid out as they are fastest.
        device: To train on.
        decay: Share of the average that stays in a step.
        groups: Its parameters and their weight decay, as the optimiser takes them.
        learning_rate: Of the optimiser, until the schedule gives another one.
    """

    average: MovingAverage

    def __init__(
        self,
        module: nn.Module,
        device: torch.device,
        *,
        decay: float,
        groups: Sequence[dict[str, Any]],
        learning_rate: float,
    ) -> None:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.device, self.module = device, module.to(device).train()
        self.average = MovingAverage(self.module, decay)
        self.optimiser = torch.optim.AdamW(groups, lr=learning_rate)

    def averaged(self) -> Any:
        """A copy of the network so far, with averaged weights, which is trained no further."""
        module = deepcopy(self.module)
        module.load_state_dict(self.average.values)
        return module


class Trainer:
    """The training of a task, round by round.

    Args:
        task: What is trained, and how a batch's loss comes about.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.schedule, self.round = task, task.schedule, 0

    def run(
        self,
        name: str = "",
        checkpoint: Checkpoint | None = None,
        report: Report = lambda *_: None,
        until: int | None = None,
    ) -> None:
        """Trains until all rounds are done, from a checkpoint on where there is one; then the best state is restored.

        Args:
            name: Says in reports what is trained.
            checkpoint: Read first, and written now and then.
            report: Told after every round.
            until: Stop after this round, as if interrupted; None: go on to the last one.

        Raises:
            CheckpointError: The checkpoint is damaged, or of another training.
            DivergedError: The loss is infinite, or not a number; the checkpoint is the one before.
        """
        stopping, rounds = self.task.early_stopping, self.schedule.rounds
        if checkpoint and (state := checkpoint.load(self.schema())) is not None:
            self._resume(checkpoint, state)
        elif stopping and not self.round:
            stopping.begin()
        while self.round < min(rounds, until or rounds):
            loss = self._one_round(name)
            if checkpoint and self.schedule.is_due(self.schedule.save_every, self.round):
                checkpoint.save(self.state())
            report(name, self.round, rounds, self.task.progress(loss))
        if stopping and self.round == rounds:
            stopping.restore_best()

    def _one_round(self, name: str) -> float:
        """One step, or one epoch; the last loss, NaN where there was none."""
        task, loss = self.task, None
        for group in task.optimiser.param_groups:
            group["lr"] = self.schedule.learning_rate_at(self.round)
        for loss in task.losses():
            self._step(loss)
        last = torch.nan if loss is None else loss.item()
        if loss is not None and not math.isfinite(last):
            raise DivergedError(
                f"{name or 'training'}: expected a finite loss, found {last} in round {self.round + 1} of "
                f"{self.schedule.rounds}; give a smaller learning rate, or look for faces that are annotated wrongly"
            )
        self.round += 1
        if task.average:
            task.average.update(self.round)
        if task.early_stopping and self.schedule.is_due(self.schedule.judge_every, self.round):
            task.early_stopping.judge()
        return last

    def _step(self, loss: Tensor) -> None:
        """Moves the weights against the gradient of a loss."""
        optimiser = self.task.optimiser
        optimiser.zero_grad()
        loss.backward()
        if self.schedule.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.task.module.parameters(), self.schedule.max_grad_norm)
        optimiser.step()
        self.task.after_step()

    def schema(self) -> Schema:
        """What a state that this training can go on from must be."""
        task = self.task
        stopping = task.early_stopping and Fields(task.early_stopping.schema())
        return Fields(
            {
                "round": Number(0, self.schedule.rounds, whole=True),
                "weights": like(task.module.state_dict()),
                "optimiser": OptimiserState(task.optimiser),
                "generators": like([generator.get_state() for generator in task.generators]),
                "average": like(task.average and task.average.values),
                "early_stopping": stopping or like(None),
            }
        )

    def _resume(self, checkpoint: Checkpoint, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint that looks right."""
        try:
            self.load(state)
        except (RuntimeError, ValueError, TypeError, LookupError) as error:
            # Torch names several, such as for a generator's state
            raise checkpoint.damaged(error) from error

    def state(self) -> dict[str, Any]:
        """All that a checkpoint must hold."""
        task = self.task
        return {
            "round": self.round,
            "weights": task.module.state_dict(),
            "optimiser": task.optimiser.state_dict(),
            "generators": [generator.get_state() for generator in task.generators],
            "average": task.average and task.average.values,
            "early_stopping": task.early_stopping and task.early_stopping.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        task, self.round = self.task, state["round"]
        task.module.load_state_dict(state["weights"])
        task.optimiser.load_state_dict(state["optimiser"])
        for generator, numbers in zip(task.generators, state["generators"], strict=True):
            generator.set_state(numbers)
        if task.average:
            for name, value in task.average.values.items():
                value.copy_(state["average"][name])
        if task.early_stopping:
            task.early_stopping.load(state["early_stopping"])


# Parameters of glibc's mallopt
TRIM_THRESHOLD, MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Tells the C library to keep freed memory for this process; whether it listens.

    A step of training allocates the same large tensors as the one before. Where glibc maps and unmaps them every time,
    a third of the step is spent on zeroing fresh pages.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        # A C library without it, such as musl
        return False
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, 2**31 - 1))
