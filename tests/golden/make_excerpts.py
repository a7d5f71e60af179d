"""Copies the free model's golden values that tests read from the shared folder: ``python make_excerpts.py ../shared``.

Left out: the image itself (it is ``free_model/image.png``), what the free model has not got (gaze, parts), and
values that no test asks for.
"""

import re
import sys
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent
FIT = (
    r"hyp0/(?!.*(interp_mat|reference_shape|landmark_locations))|params/"
    r"|(bbox|success|chosen_hypothesis|model_likelihood)$"
    r"|(params_global|params_local|landmarks|camera|shape3d|pose|pose_wrt_camera)$"
)
EXCERPTS = {
    "pdm": r"case\d+/(?!.*_w_t|axis_angle)",
    "responses": r"scale\d_w\d+_yaw-?\d+/(?!r/(reference_shape|interp_mat))",
    "fit": FIT,
    "fit_weighted": FIT,
}  # file: how the keys begin that are kept


def image() -> np.ndarray:
    """The free model's image in gray, as OpenFace sees it."""
    return cv2.cvtColor(cv2.imread(str(HERE / "free_model" / "image.png")), cv2.COLOR_BGR2GRAY)


def main(shared: Path) -> None:
    """Writes the excerpts beside this file."""
    for name, pattern in EXCERPTS.items():
        values = dict(np.load(shared / "golden_free" / f"{name}.npz"))
        if "gray" in values and not np.array_equal(values["gray"], image()):
            raise ValueError(f"{name}.npz was made on another image than free_model/image.png")
        kept = {key: value for key, value in values.items() if re.match(pattern, key)}
        np.savez_compressed(HERE / f"{name}.npz", **kept)
        print(f"{name}.npz: {len(kept)} of {len(values)} values, {(HERE / f'{name}.npz').stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
