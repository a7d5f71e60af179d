"""A program that calls everything under one of torch's defaults, and writes what was found into a file.

python -m tests.torch_defaults plain|float64|meta FILE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import clnf_torch
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.pipeline import LandmarkDetector
from tests.factories import CONFIG, V, make_boxes, make_experts, make_images, make_model, make_pdm
from tests.models.patch_experts.template_factories import make_ccnf, make_svr
from tests.mtcnns import make_mtcnn
from tests.test_batch_invariance import BOX, leaves

DEFAULTS = ("plain", "float64", "meta")
FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"


def set_default(name: str) -> None:
    """What callers set for all tensors of theirs."""
    if name == "float64":
        torch.set_default_dtype(torch.float64)
    elif name == "meta":
        torch.set_default_device("meta")


def small_models() -> dict[str, LandmarkModel]:
    """Models of the families that the one which ships is not of."""
    kinds = {"cen": make_experts, "ccnf": make_ccnf, "svr": make_svr}
    float32 = torch.float32
    models = {"cen with rules": make_model(float32)}
    for name, make in kinds.items():
        experts = make(views=V, dtype=float32) if name == "cen" else make(dtype=float32)
        models[name] = LandmarkModel(make_pdm(float32), [experts])
    return models


def ask_the_default_model(frame: Tensor, box: Tensor, found: dict[str, Any]) -> None:
    """Fits, measures, checks, repairs and tracks."""
    detector, face_detector = clnf_torch.load(), clnf_torch.load_face_detector()
    for kind, frames in (("float32", frame[None].float()), ("uint8", frame[None])):
        fit = detector.fit(frames, box)
        found[f"fit {kind}"] = fit
        found[f"multi-view {kind}"] = detector.fit(frames, box.expand(3, 4), [0, 0, 0], multi_view=True)
        found[f"landmarks {kind}"] = detector.fit_from_landmarks(frames, fit.landmarks + 2)
        found[f"params {kind}"] = detector.fit_from_params(frames, fit.params)
        found[f"measures {kind}"] = clnf_torch.measure_faces(fit, detector, Intrinsics.of(500.0, 500.0, 256.0, 256.0))
        found[f"aligned {kind}"] = clnf_torch.align_faces(frames, fit.landmarks, detector.model.pdm, masked=True)
        poor = fit.landmarks.clone()
        poor[:, 36:48] += 25
        found[f"quality {kind}"] = clnf_torch.check_landmark_quality(
            poor, detector, frames=frames, previous=fit.landmarks
        )
        found[f"repaired {kind}"] = clnf_torch.repair_landmarks(poor, detector, frames, boxes=box)
        found[f"faces {kind}"] = face_detector.detect(frames)
        for single in (True, False):
            tracker = clnf_torch.VideoTracker(detector, face_detector, clnf_torch.VideoConfig(single_face=single))
            state = tracker.begin(1)
            for number in range(3):
                state, found[f"track {kind} {single} {number}"] = tracker.step(state, frames)
            placed = tracker.place(tracker.begin(1), box)
            found[f"placed {kind} {single}"] = tracker.step(placed, frames)[1]
    double = detector.double()
    found["fit in double"] = double.fit(frame[None].double(), box)
    detector.float()
    # With gradients there are no compiled loops
    frames = frame[None].float().requires_grad_()
    fit = detector.fit(frames, box)
    fit.landmarks.sum().backward()
    found["gradient"] = [fit, frames.grad]


def ask_others(frame: Tensor, models: dict[str, LandmarkModel], scene: dict[str, Any], found: dict[str, Any]) -> None:
    """Fits of small models of every family, and the other face detector."""
    for name, model in models.items():
        for numerics in (clnf_torch.OPENFACE, clnf_torch.EXACT):
            detector = LandmarkDetector(model, numerics)
            for recorded in (False, True):
                images = scene["images"].clone().requires_grad_(recorded)
                key = f"{name} {numerics == clnf_torch.EXACT} {recorded}"
                found[key] = detector.fit(images, scene["boxes"], preset=CONFIG, multi_view=True)
    for frames in (frame[None], frame[None].float()):
        found[f"mtcnn {frames.dtype}"] = scene["mtcnn"].detect(frames[:, :, ::4, ::4])


def ask_in_one_call(pillow_image: Any, found: dict[str, Any]) -> None:
    """The faces of an image and of frames in memory."""
    faces = clnf_torch.detect(pillow_image)
    found["detect"] = [faces.landmarks, faces[0].boxes if hasattr(faces[0], "boxes") else faces[0].landmarks]
    found["detect arrays"] = clnf_torch.detect([pillow_image], boxes=[[BOX]]).landmarks


def main(default: str, file: str) -> None:
    """See the module."""
    from PIL import Image

    image = Image.open(FOLDER / "astronaut.jpg").convert("RGB")
    import numpy as np

    frame = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
    box = torch.tensor([BOX])
    models = small_models()
    scene = {"images": make_images(2).float(), "boxes": make_boxes(2).float(), "mtcnn": make_mtcnn(torch.float32)}
    set_default(default)
    found: dict[str, Any] = {}
    ask_others(frame, models, scene, found)
    ask_the_default_model(frame, box, found)
    ask_in_one_call(image, found)
    torch.save({name: [leaf.detach() for leaf in leaves(record)] for name, record in found.items()}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
