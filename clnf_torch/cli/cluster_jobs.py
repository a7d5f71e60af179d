"""``detect`` and ``track`` with ``--ray``: the same rows from a cluster, as Parquet files and a manifest."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from clnf_torch.cli.console import Complaints, add_note, failures_exit_with, mention_terms, notice
from clnf_torch.cli.options import CameraOptions
from clnf_torch.cli.outputs import Targets
from clnf_torch.cli.progress import share_bar
from clnf_torch.export.csv import DEFAULT_FORM, CSVForm
from clnf_torch.models.bundle import load_bundle

if TYPE_CHECKING:
    from clnf_torch.distributed import Actors
    from clnf_torch.distributed.job import JobReport


@dataclass(frozen=True)
class Cluster:
    """A cluster that computes a command's rows.

    Attributes:
        targets: What was asked for: Parquet alone.
        address: Of the cluster.
        count: Actors; None: as many as there is room for.
        device: "cpu", or "cuda" for a card each.
        face_detector: Of the caller's machine, which those of the cluster do not know; None: the model's.
        threads: Of each actor, which has as many CPUs; None: one.
    """

    targets: Targets
    address: str
    count: int | None
    device: str
    face_detector: str | None
    threads: int | None = None


def run_on_cluster(unit: Literal["images", "videos"], inputs: Sequence[Path], cluster: Cluster, **options: Any) -> None:
    """``clnf-torch detect --ray`` for images, ``clnf-torch track --ray`` for videos.

    Args:
        unit: What the inputs are.
        inputs: As they were given.
        cluster: Where, and where to.
        options: Of `DetectSettings` or `TrackSettings`, ``model`` and ``camera``.

    Raises:
        typer.BadParameter: Options that do not go with ``--ray``.
        typer.Exit: The job failed, or some inputs could not be used.
    """
    if cluster.face_detector is not None:
        raise typer.BadParameter(
            "--detector is not known to a cluster's machines; leave out --ray, or save both in a bundle"
        )
    output = _output(cluster.targets)
    with _job(output, unit) as progress:
        from clnf_torch import distributed
        from clnf_torch.distributed.storage import as_url

        jobs: dict[str, tuple[Callable[..., JobReport], Any]] = {
            "images": (distributed.detect_images, distributed.DetectSettings),
            "videos": (distributed.track_videos, distributed.TrackSettings),
        }
        work, settings = jobs[unit]
        mention_terms(options["model"], load_bundle(options["model"]).get("licence", ""))
        report = work(
            [as_url(path) for path in inputs],
            output,
            model=options["model"],
            settings=settings(**_settings(options)),
            actors=_actors(cluster),
            address=cluster.address,
            progress=progress,
        )
        _tell(report, unit, output)


def _output(targets: Targets) -> str:
    """The folder or URL of the job."""
    others = [option for option in targets.given() if option != "--parquet"]
    if targets.parquet is None or others or targets.form != DEFAULT_FORM:
        found = ", ".join(others) or _form_option(targets.form) or "none"
        raise typer.BadParameter(f"--ray writes Parquet files: give --parquet FOLDER or URL alone; found {found}")
    return str(targets.parquet)


def _form_option(form: CSVForm) -> str | None:
    """The option that changes the text of CSV files, if there is one."""
    asked = {"--openface-precision": form.openface_precision, "--header-blanks": form.header_blanks}
    return next((option for option, given in asked.items() if given), None)


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """Settings of a job by their names."""
    camera: CameraOptions = options["camera"]
    plain = {name: value.value if isinstance(value, Enum) else value for name, value in options.items()}
    del plain["model"], plain["camera"]
    return plain | asdict(camera)


def _actors(cluster: Cluster) -> "Actors":
    """Who computes."""
    from clnf_torch.distributed import Actors

    if cluster.device not in {"cpu", "cuda"}:
        raise typer.BadParameter(
            f"--device {cluster.device}: with --ray give cpu or cuda; the cluster chooses the card"
        )
    cards = 1 if cluster.device == "cuda" else 0
    return Actors(num_cpus=cluster.threads or 1, num_gpus=cards, concurrency=cluster.count)


@contextlib.contextmanager
def _job(output: str, unit: str) -> Iterator[Any]:
    """Runs a job with a bar; what ends it says how to go on."""
    with failures_exit_with(1), share_bar(unit) as progress:
        try:
            from clnf_torch.distributed.cluster import ray_module

            ray_module()
            yield progress
        except ImportError as error:
            raise RuntimeError(f"{error}; install what --ray needs with: pip install 'clnf-torch[ray]'") from None
        except (KeyboardInterrupt, SystemExit) as error:
            add_note(error, f"clnf-torch: finished {unit} are in {output}; the same command goes on with the others")
            raise


def _tell(report: "JobReport", unit: str, output: str) -> None:
    """Says what a job did.

    Raises:
        typer.Exit: Some inputs could not be used.
    """
    complaints = Complaints()
    for problem in report.problems:
        complaints(problem)
    before = f", {report.skipped} of them by an earlier run" if report.skipped else ""
    notice(f"{output}: {report.inputs} {unit}{before}; {report.rows} new rows")
    if complaints.any:
        raise typer.Exit(1)
