"""``clnf-torch convert``: an OpenFace model directory becomes a bundle, or the face detector of another package."""

from pathlib import Path

from clnf_torch import converters
from clnf_torch.cli.console import failures_exit_with, notice, say
from clnf_torch.cli.output_check import Input, Output, check_outputs, model_files
from clnf_torch.cli.progress import bytes_bar
from clnf_torch.cli.runs.info import describe
from clnf_torch.converters import ConversionReport
from clnf_torch.converters.face_detector import package_of
from clnf_torch.converters.locate import cache_folder
from clnf_torch.models.bundle import load_bundle


def convert(
    *,
    out: Path,
    source: Path | None,
    half: bool,
) -> None:
    """Convert an OpenFace model, or the face detector of another package, to a bundle."""
    check_outputs(_inputs(source or cache_folder()), [Output("--output", out)])
    if source is not None and package_of(source):
        return _convert_face_detector(source, out)
    with failures_exit_with(2):
        with bytes_bar() as written:
            report = converters.convert(source, out, half=half, progress=written)
        _print_skipped(report)
        for line in describe(load_bundle(report.out), report.out):
            say(line)


def _convert_face_detector(source: Path, out: Path) -> None:
    """Converts the face detector of a Python package."""
    with failures_exit_with(2):
        converters.convert_face_detector(source, out)
        detector = load_bundle(out)["face_detector"]
        say(f"{out}: face detector {detector['kind'].upper()}, {out.stat().st_size / 1e6:,.1f} MB")


def _inputs(source: Path) -> list[Input]:
    """What is read: of a model that is given by a file, the folder around it too."""
    return [Input(source), Input(source.parent if source.is_file() else source, model_files)]


def _print_skipped(report: ConversionReport) -> None:
    """A line for each part of the model that was not converted."""
    for skipped in report.skipped:
        notice(f"skipped: {skipped.entry}: {skipped.reason}")
    if report.others:
        names = ", ".join(path.name for path in report.others)
        notice(f"converted {report.main.name}; {names} can be given as SOURCE instead")
