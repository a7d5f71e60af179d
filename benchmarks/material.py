"""What is measured: a model of the published size, a photograph, and boxes around its face."""

import importlib.util
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.nn.functional import pad

from clnf_torch.converters import convert

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
BUILD = ROOT / "build" / "bench"
IMAGE, BOX = "obama2.png", (197.0, 319.0, 283.0, 330.0)
FRAME_ROWS = slice(100, 820)  # of the photograph, around its face


def real_size_source() -> Path:
    """A model directory of the published size (430 MB); made on first use from the stand-in experts beside the project.

    Raises:
        SystemExit: The folder with the stand-in experts is not there.
    """
    model, target = SHARED / "models" / "openface", BUILD / "openface"
    if not model.is_dir():
        sys.exit(
            f"benchmarks: expected OpenFace stand-in models in {model}, found nothing; put the shared folder there"
        )
    if not (target / "main_ceclm_general.txt").exists():
        shutil.copytree(model, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
        tool = SHARED / "tools" / "real_size_cen.py"
        experts = "patch_experts"
        subprocess.run([sys.executable, tool, model / experts, target / experts], check=True, stdout=sys.stderr)
    return target


def real_size_bundle(half: bool = False) -> Path:
    """The bundle of `real_size_source`, converted on first use."""
    path = BUILD / ("real_half.pt" if half else "real.pt")
    if not path.exists():
        convert(real_size_source(), path, half=half)
    return path


def clnf_bundle() -> Path:
    """The bundle of OpenFace's CLNF model, converted on first use."""
    path = BUILD / "clnf.pt"
    if not path.exists():
        convert(real_size_source() / "main_clnf_general.txt", path)
    return path


def photograph() -> Tensor:
    """One colour image with one large face, RGB, uint8, shape (1, 3, H, W)."""
    image = cv2.imread(str(SHARED / "images" / IMAGE))
    return torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None]


def picture() -> Tensor:
    """The same face in an image as wide as a video's frame, RGB, uint8, shape (1, 3, 720, 1280)."""
    around = (1280 - photograph().shape[-1]) // 2
    part = photograph()[..., FRAME_ROWS, :].float()
    return pad(part, (around, around, 0, 0), mode="replicate").to(torch.uint8)


def drawn_by_tool(image: Tensor, landmarks: Tensor, seed: int) -> Tensor:
    """A face (3, H, W) with the pen marks of the tool beside the project, which nothing here was made with."""
    mark = _tool("mark_faces").mark
    blue_first = image.permute(1, 2, 0).flip(-1).contiguous().numpy()
    return torch.from_numpy(mark(blue_first, landmarks.numpy(), seed)[..., ::-1].copy()).permute(2, 0, 1)


@cache
def _tool(name: str) -> Any:
    """A module beside the project."""
    spec = importlib.util.spec_from_file_location(name, SHARED / "tools" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def boxes(count: int) -> Tensor:
    """Boxes around its face, each moved and scaled by some hundredths, shape (count, 4)."""
    noise = torch.randn(count, 4, generator=torch.Generator().manual_seed(0))
    return torch.tensor(BOX) * (1 + 0.02 * noise)
