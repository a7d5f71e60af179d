"""Fitted faces as JSON: valid whatever happened, complete or not there at all."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.cli.boxes import Box
from clnf_torch.models.archive import write_atomically
from clnf_torch.pipeline import FitResult


def face_record(image: Path, box: Box, result: FitResult, row: int) -> dict[str, Any]:
    """One fitted face as plain values; numbers that are not finite become None.

    Args:
        image: Its picture.
        box: Its box.
        result: The batch it was fitted in.
        row: Its row there.
    """
    params = result.params
    pose = torch.cat((params.scale[row, None], params.rotation[row], params.translation[row]))
    return {
        "image": str(image),
        "box": list(box),
        "success": bool(result.success[row]),
        "likelihood": _plain(result.likelihood[row]),
        "view": int(result.view[row]),
        "params_global": _plain(pose),
        "params_local": _plain(params.local[row]),
        "landmarks": _plain(result.landmarks[row]),
        "landmark_likelihoods": _plain(result.landmark_likelihoods[row]),
    }


def write_json(target: Path, model: Path, faces: Sequence[dict[str, Any]]) -> None:
    """Writes all faces, one on each line.

    Args:
        target: The file, replaced when the new one is complete; ``-`` for stdout.
        model: The bundle that they were fitted with.
        faces: From `face_record`.
    """
    lines = ",".join(f"\n{json.dumps(face, allow_nan=False)}" for face in faces)
    text = f'{{"model": {json.dumps(str(model))}, "faces": [{lines}]}}\n'
    if str(target) == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    with write_atomically(target) as file:
        file.write(text.encode("ascii"))


def _plain(values: Tensor) -> Any:
    """A tensor as nested lists of numbers."""
    return _finite(values.tolist())


def _finite(value: Any) -> Any:
    """Numbers with nine digits, which tell any two float32 apart; None where a number is not finite."""
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return float(f"{value:.9g}") if math.isfinite(value) else None
