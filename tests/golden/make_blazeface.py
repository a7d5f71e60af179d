"""Makes ``blazeface.npz``: what TensorFlow Lite computes of MediaPipe's two face detectors.

    python tests/golden/make_blazeface.py mediapipe-0.10.14-....whl

needs ``pip install ai-edge-litert``. Images are random numbers of numpy's generator with seed 0, -1 to 1, with their
axes in TensorFlow's order (1, side, side, 3). Of the anchors every eighth is kept.
"""

import sys
import zipfile
from pathlib import Path

import numpy as np

FILES = {"short_range": "face_detection_short_range.tflite", "full_range": "face_detection_full_range_sparse.tflite"}
EVERY = 8


def main(wheel: str) -> None:
    """Writes the file."""
    from ai_edge_litert.interpreter import Interpreter

    values = {}
    for name, file in FILES.items():
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(f"mediapipe/modules/face_detection/{file}")
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
        (given,) = interpreter.get_input_details()
        image = np.random.default_rng(0).uniform(-1, 1, given["shape"]).astype(np.float32)
        interpreter.set_tensor(given["index"], image)
        interpreter.invoke()
        found = {
            int(one["shape"][-1]): interpreter.get_tensor(one["index"])[0] for one in interpreter.get_output_details()
        }
        values |= {f"{name}_logits": found[1][::EVERY, 0], f"{name}_regressions": found[16][::EVERY]}
    np.savez_compressed(Path(__file__).parent / "blazeface.npz", **values)


if __name__ == "__main__":
    main(sys.argv[1])
