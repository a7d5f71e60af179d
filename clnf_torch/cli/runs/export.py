"""``clnf-torch export``: a bundle becomes OpenFace's files again."""

from pathlib import Path

from clnf_torch import converters
from clnf_torch.cli.console import failures_exit_with, notice, say
from clnf_torch.cli.output_check import Input, Output, check_outputs

NO_VALIDATOR = (
    "the folder has no detection validator and no parts: OpenFace's programs need -validate_detections 0 there; "
    "--source MODEL_DIR copies those of the model that this one was converted from"
)


def export(
    *,
    bundle: Path,
    folder: Path,
    source: Path | None,
) -> None:
    """Write CEN patch experts as OpenFace's .dat files. Byte for byte, unless converted with --half."""
    check_outputs([Input(bundle)], [Output("DIR", folder, folder=True)])
    with failures_exit_with(2):
        files = converters.export(bundle, folder, source)
        for path in files:
            say(f"{path}: {path.stat().st_size:,} bytes")
        if source is None and any(path.name == converters.PREFERRED for path in files):
            notice(NO_VALIDATOR)
