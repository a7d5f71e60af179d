"""What faces wear: tubes, tints, cloth, and assets of MakeHuman made here."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.synthetic.accessories import cloth_texture, fingers, glasses, read_wardrobe, tinted, tube


def sampler(seed: int = 0) -> Sampler:
    return Sampler(torch.Generator().manual_seed(seed), torch.device("cpu"))


def test_a_tube_lies_around_its_path():
    path = torch.tensor([[0.0, 0, 0], [10, 0, 0], [20, 0, 0]])
    vertices, normals, quads = tube(path, 2.0)
    torch.testing.assert_close(vertices[:, 1:].norm(dim=1), torch.full((30,), 2.0))
    torch.testing.assert_close(vertices[:10, 0], torch.zeros(10))
    assert quads.shape == (20, 4) and quads.max() == 29
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(30))


def test_a_tint_keeps_coverage_and_the_order_of_brightness():
    texture = torch.tensor([[[50, 50, 50, 255], [100, 100, 100, 255], [250, 0, 0, 0]]], dtype=torch.uint8)
    red = tinted(texture, torch.tensor([0.5, 0.1, 0.1]))
    assert red[0, :, 3].tolist() == [255, 255, 0]
    assert red[0, 0, 0] < red[0, 1, 0] and red[0, 1, 0] > 3 * red[0, 1, 1]


def test_cloth_is_opaque_and_varies():
    cloths = [cloth_texture(sampler(seed)) for seed in range(4)]
    assert all((cloth[..., 3] == 255).all() for cloth in cloths)
    assert not cloths[0].equal(cloths[1])


def test_glasses_lie_before_the_eyes():
    landmarks = torch.zeros(68, 3)
    landmarks[36:42], landmarks[42:48] = torch.tensor([-32.0, 0, 0]), torch.tensor([32.0, 0, 0])
    landmarks[0], landmarks[16] = torch.tensor([-70.0, 0, 60]), torch.tensor([70.0, 0, 60])
    surfaces = glasses(landmarks, sampler())
    lenses = [surface for surface in surfaces if surface.material.cutout]
    assert len(lenses) == 2 and lenses[0].vertices[:, 0].mean() < -20 < 20 < lenses[1].vertices[:, 0].mean()
    assert all(surface.vertices[:, 2].amin() < -8 for surface in lenses)
    # The temples reach back to the ears
    assert max(float(surface.vertices[:, 2].amax()) for surface in surfaces) > 70


def test_fingers_lie_before_what_they_touch_and_have_round_tips():
    parts = fingers(torch.zeros(68, 3), torch.tensor([0.7, 0.5, 0.4]), sampler())
    assert len(parts) == 4
    for part in parts:
        tip, middle = part.vertices[:10], part.vertices[30:40]
        assert tip.std(0).norm() < 0.1 < 7 < middle.std(0).norm() < 10
        assert part.vertices[30:40, 2].amin() < -15


def test_a_folder_without_assets_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no hair and no eyelashes"):
        read_wardrobe(tmp_path)


def test_hair_comes_with_its_texture_and_hangs_on_the_head(tmp_path):
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "hair" / "cap"
    folder.mkdir(parents=True)
    (folder / "cap.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n")
    rows = "".join(f"{vertex}\n" for vertex in range(3))
    (folder / "cap.mhclo").write_text(f"obj_file cap.obj\nx_scale 0 1 1\ny_scale 0 2 1\nz_scale 0 2 1\nverts 0\n{rows}")
    image.new("RGBA", (8, 8), (200, 10, 10, 255)).save(folder / "cap.png")
    (hair,) = read_wardrobe(tmp_path).hair
    base = torch.tensor([[5.0, 0, 0], [0, 6, 0], [0, 0, 7]])
    surface = hair.surface(base, None, surface_material())
    torch.testing.assert_close(surface.vertices[:3], base)
    assert surface.places[:3].tolist() == [[0, 1], [1, 1], [0, 0]]
    assert surface.texture[0, 0].tolist() == [200, 10, 10, 255]


def surface_material():
    from clnf_torch.training.synthetic.renderer import Material

    return Material(cutout=True)
