"""`clnf_torch.training.evaluation.skin_tone`: light and dark cheeks, gray pictures, and cheeks outside the picture."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from clnf_torch.training.evaluation.skin_tone import skin_angles, typology_angle


def face() -> torch.Tensor:
    """Landmarks of a face whose cheeks lie at (20, 40) and (60, 40)."""
    landmarks = torch.zeros(68, 2)
    landmarks[2], landmarks[31] = torch.tensor([10.0, 45]), torch.tensor([30.0, 50])
    landmarks[14], landmarks[35] = torch.tensor([70.0, 45]), torch.tensor([50.0, 50])
    landmarks[29], landmarks[36], landmarks[45] = (torch.tensor(p) for p in ((40.0, 40), (20.0, 20), (60.0, 20)))
    return landmarks


def test_the_angle_is_that_of_cielab(rng):
    colours = 40 + 215 * torch.rand(50, 3, generator=rng)
    lab = cv2.cvtColor((colours / 255).numpy()[None], cv2.COLOR_RGB2Lab)[0]
    expected = np.rad2deg(np.arctan2(lab[:, 0] - 50, lab[:, 2].clip(1e-3)))
    # Of grays and blues, which skin is not, the angle says nothing; OpenCV takes roots from a table
    yellow = lab[:, 2] > 8
    assert yellow.sum() > 15
    np.testing.assert_allclose(typology_angle(colours).numpy()[yellow], expected[yellow], atol=1.0)


def test_cheeks_are_looked_at_and_nothing_else():
    image = torch.zeros(3, 80, 80, dtype=torch.uint8)
    image[:, 30:50, 10:30] = torch.tensor([220, 175, 150], dtype=torch.uint8)[:, None, None]
    image[:, 30:50, 50:70] = torch.tensor([220, 175, 150], dtype=torch.uint8)[:, None, None]
    gray = torch.full((3, 80, 80), 150, dtype=torch.uint8)
    far = face() + 500
    found = skin_angles((image, gray, image), torch.stack((face(), face(), far)))
    torch.testing.assert_close(found[0], typology_angle(torch.tensor([220.0, 175, 150])))
    assert found[1:].isnan().all()
