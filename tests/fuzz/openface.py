"""OpenFace's model files, binary and text: one of them is damaged, and the model that is converted fits a face."""

from __future__ import annotations

import random
from pathlib import Path

import torch

import clnf_torch
from clnf_torch.converters import ConversionError, convert
from tests.converters.model_directory import TRIANGULATIONS, write_model
from tests.converters.mtcnn_files import write_mtcnn
from tests.converters.openface_files import pdm_text
from tests.converters.template_files import ccnf_pieces, svr_lines, text
from tests.factories import make_boxes, make_images
from tests.fuzz.formats import Format
from tests.fuzz.mutations import mutate_bytes

IMAGES, BOXES = make_images(1).float(), make_boxes(1).float()
SMALL = clnf_torch.FitConfig(window_sizes=(5,) * 16, iterations=2)


def prepare_cen(folder: Path) -> list[Path]:
    """A model of CEN experts, with a part, a validator and a face detector."""
    main = write_model(folder, mixed=False)
    write_mtcnn(folder)
    named = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return [main, *(file for file in named if file != main)]


def prepare_templates(folder: Path) -> list[Path]:
    """A model of CCNF experts and one of SVR experts."""
    (folder / "pdm.txt").write_text(pdm_text())
    (folder / "tris.txt").write_text(TRIANGULATIONS)
    for name, keyword in (("ccnf", "PatchesCCNF"), ("svr", "PatchesIntensity")):
        for scale in (0.25, 0.5):
            content = b"".join(ccnf_pieces(scale=scale).values()) if name == "ccnf" else text(svr_lines(scale=scale))
            (folder / f"{name}_patches_{scale}_general.txt").write_bytes(content)
        lines = [f"{keyword} {name}_patches_{scale}_general.txt" for scale in (0.25, 0.5)]
        (folder / f"{name}.txt").write_text("\n".join(["PDM pdm.txt", "Triangulations tris.txt", *lines]))
        (folder / f"main_{name}.txt").write_text(f"LandmarkDetector {name}.txt")
    return sorted(file for file in folder.iterdir() if file.suffix == ".txt")


def use(path: Path) -> None:
    """Converts the models that the file may belong to, and fits a face with each."""
    folder = next(parent for parent in path.parents if list(parent.glob("main_*.txt")))
    for main in sorted(folder.glob("main_*.txt")):
        convert(main, folder / "out.pt")
        with torch.inference_mode():
            result = clnf_torch.load(folder / "out.pt").fit(IMAGES, BOXES, preset=SMALL)
        assert result.landmarks[result.success].isfinite().all(), "success with landmarks that are not finite"
        (folder / "out.pt").unlink()


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Bytes, or a word of a text."""
    if b"\0" in content or rng.random() < 0.5:
        return mutate_bytes(content, rng)
    words = content.split(b" ")
    words[rng.randrange(len(words))] = rng.choice(
        (b"", b"nan", b"-1", b"0", b"1e999", b"1e308", b"99999999999", b"-7.5", b"x")
    )
    return b" ".join(words)


REFUSALS = (ConversionError,)
FORMATS = (
    Format(name="openface-cen", prepare=prepare_cen, use=use, refusals=REFUSALS, mutate=mutate, share=2),
    Format(name="openface-templates", prepare=prepare_templates, use=use, refusals=REFUSALS, mutate=mutate, share=2),
)
