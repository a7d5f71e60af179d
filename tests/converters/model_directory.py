"""A small OpenFace model directory for tests, with everything that a description can name."""

from __future__ import annotations

from pathlib import Path

from clnf_torch.converters.openface.validator import SIZE
from tests.converters.openface_files import cen_pieces, pdm_text
from tests.converters.validator_files import validator_pieces

TRIANGULATIONS = "# views\n3\n" + "# triangles\n2\n3\n4\n0 1 2 \n2 3 4 \n" * 3
EARLY_TERMINATION = "1.0 1.1 1.1 0.0 0.1 0.1 -0.2 -0.3 -0.3 "
SCALES = (0.25, 0.5)


def write_model(folder: Path, *, mixed: bool = True) -> Path:
    """A complete model directory of two scales.

    Returns:
        Its ``main_ceclm_general.txt``.
    """
    (folder / "pdms").mkdir(parents=True)
    (folder / "pdms" / "pdm.txt").write_text(pdm_text())
    (folder / "tris.txt").write_text(TRIANGULATIONS)
    (folder / "early.txt").write_text(EARLY_TERMINATION)
    lines = ["PDM pdms/pdm.txt", "Triangulations tris.txt"]
    for seed, scale in enumerate(SCALES):
        name = f"cen_patches_{scale:.2f}_of.dat"
        (folder / name).write_bytes(b"".join(cen_pieces(scale=scale, seed=seed, mixed=mixed).values()))
        lines.append(f"PatchesCEN {name}")
    (folder / "cen.txt").write_bytes(
        "\r\n".join([*lines, "EarlyTermination early.txt"]).encode()
    )  # CR, no last newline
    (folder / "eye").mkdir()
    (folder / "eye" / "main.txt").write_text("LandmarkDetector eye.txt")
    (folder / "eye" / "pdm.txt").write_text(pdm_text())
    (folder / "eye" / "eye.txt").write_text("PDM pdm.txt\nPatchesCEN cen_patches_1.00_of.dat")
    (folder / "eye" / "cen_patches_1.00_of.dat").write_bytes(b"".join(cen_pieces(scale=1.0, mixed=False).values()))
    (folder / "validator.txt").write_bytes(b"".join(validator_pieces(size=SIZE, zoom=6).values()))
    main = folder / "main_ceclm_general.txt"
    main.write_text(
        "LandmarkDetector cen.txt\nLandmarkDetector_part eye/main.txt left_eye_28 0 1 2 3\n"
        "FaceDetConversion haar.txt\nDetectionValidator validator.txt"
    )
    return main
