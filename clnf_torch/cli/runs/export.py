"""``clnf-torch export``: a bundle becomes OpenFace's files again, or its networks ONNX files."""

from pathlib import Path

import typer

from clnf_torch import converters
from clnf_torch.cli.console import complain, failures_exit_with, notice, say
from clnf_torch.cli.output_check import Input, Output, check_outputs
from clnf_torch.export.onnx import export_onnx, onnx_files
from clnf_torch.models.bundle import build_model, load_bundle

NO_VALIDATOR = (
    "the folder has no detection validator and no parts: OpenFace's programs need -validate_detections 0 there; "
    "--source MODEL_DIR copies those of the model that this one was converted from"
)


def export(
    *,
    bundle: Path,
    folder: Path | None,
    source: Path | None,
    onnx: Path | None,
) -> None:
    """Write CEN patch experts as OpenFace's .dat files, byte for byte unless converted with --half; or ONNX files."""
    if (folder is None) == (onnx is None):
        raise typer.BadParameter("give either DIR for OpenFace's files, or --onnx FILE.onnx")
    if onnx is not None:
        return _export_onnx(bundle, onnx)
    assert folder is not None
    check_outputs([Input(bundle)], [Output("DIR", folder, folder=True)])
    with failures_exit_with(2):
        files = converters.export(bundle, folder, source)
        for path in files:
            say(f"{path}: {path.stat().st_size:,} bytes")
        if source is None and any(path.name == converters.PREFERRED for path in files):
            notice(NO_VALIDATOR)


def _export_onnx(bundle: Path, onnx: Path) -> None:
    """Writes the networks of heatmap experts as ONNX."""
    with failures_exit_with(2):
        model = build_model(load_bundle(bundle))
        try:
            files = onnx_files(model, onnx)
        except ValueError as error:
            complain(f"{bundle}: {error}")
            raise typer.Exit(2) from None
        check_outputs([Input(bundle)], [Output("--onnx", path) for path in files])
        for path in export_onnx(model, onnx):
            say(f"{path}: {path.stat().st_size:,} bytes")
