"""Heatmap experts as ONNX files, for runtimes without PyTorch; needs onnx and onnxscript: ``clnf-torch[onnx]``."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.files.writing import write_atomically
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts

# Names of the graph's input and output, and of their first dimension
AREAS, MAPS, FACES = "areas", "maps", "faces"
# Faces of the call that is traced: more than one, so that their number stays free
TRACED = 2


class _Maps(nn.Module):
    """The probability of each landmark in every cell, from areas of the image."""

    def __init__(self, experts: HeatmapExperts) -> None:
        super().__init__()
        self.network = experts.network

    def forward(self, areas: Tensor) -> Tensor:
        """Maps (B, N, A / Z, A / Z) of gray areas (B, A, A)."""
        scores: Tensor = self.network(areas)
        return scores.flatten(2).softmax(-1).view(scores.shape)


def onnx_files(model: LandmarkModel, path: Path) -> dict[Path, HeatmapExperts]:
    """The files that `export_onnx` writes, and the experts in each.

    Args:
        model: The model.
        path: The file; where the model has different experts at several scales, their pixels per millimetre follow its
            name, as in ``experts_0.15.onnx``, and a number those of a scale that comes again: ``experts_0.15_2.onnx``.

    Raises:
        ValueError: The model has no heatmap experts.
    """
    experts = list(dict.fromkeys(model.experts_at(index) for index in range(model.num_scales)))
    heatmaps = [each for each in experts if isinstance(each, HeatmapExperts)]
    if len(heatmaps) < len(experts):
        raise ValueError(
            f"expected heatmap experts, found {model.family.name} experts; only heatmap experts are exported"
        )
    if len(heatmaps) == 1:
        return {path: heatmaps[0]}
    files: dict[Path, HeatmapExperts] = {}
    for number, each in enumerate(heatmaps):
        again = sum(other.scale == each.scale for other in heatmaps[:number])
        name = f"{path.stem}_{each.scale:g}{f'_{again + 1}' if again else ''}{path.suffix}"
        files[path.with_name(name)] = each
    return files


def export_onnx(model: LandmarkModel, path: str | Path) -> list[Path]:
    """Writes the networks of heatmap experts as ONNX, one file for each scale that has its own.

    A graph's input ``areas`` is gray, float32, 0 to 255, shape (B, A, A): a face upright in the reference frame, at Z
    times the scale of its maps, Z being 2, or 4 for mesh experts. Its output ``maps`` has the probability of each
    landmark in every cell, shape (B, N, A / Z, A / Z); column u lies at pixel Z u. The file's metadata name scale,
    width, zoom (Z) and landmarks.

    Args:
        model: The model, on the CPU, in float32.
        path: The file; see `onnx_files`.

    Returns:
        The files.

    Raises:
        ValueError: The model has no heatmap experts.
        RuntimeError: onnx or onnxscript is not installed.
    """
    files = onnx_files(model, Path(path))
    for file, experts in files.items():
        content = _graph(experts).SerializeToString()
        with write_atomically(file) as out:
            out.write(content)
    return list(files)


def _graph(experts: HeatmapExperts) -> Any:
    """The experts' network as a protocol buffer of ONNX."""
    areas = torch.zeros(TRACED, experts.width, experts.width, dtype=torch.float32, device="cpu")
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                _Maps(experts).eval(),
                (areas,),
                dynamo=True,
                input_names=[AREAS],
                output_names=[MAPS],
                dynamic_shapes=({0: torch.export.Dim(FACES)},),
                verbose=False,
            )
    except ImportError as error:
        raise RuntimeError("ONNX files need onnx and onnxscript; pip install 'clnf-torch[onnx]'") from error
    assert program is not None
    facts = {
        "scale": experts.scale,
        "width": experts.width,
        "zoom": experts.zoom,
        "landmarks": experts.visible.shape[1],
    }
    program.model.metadata_props.update({f"clnf_torch.{name}": str(value) for name, value in facts.items()})
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of packages that are absent, and of its own old functions."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
