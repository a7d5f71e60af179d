"""The renderer: where surfaces fall in the image, their depth, shadows and what is cut out; skipped without OpenGL."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.training.synthetic.renderer import Lighting, Material, Renderer, Surface

CENTER = torch.tensor([31.5, 31.5])


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    pytest.importorskip("moderngl")
    try:
        return Renderer(64)
    except RuntimeError as error:
        pytest.skip(str(error))


def square(half: float, depth: float, x: float = 0.0, alpha: int = 255, cutout: bool = False) -> Surface:
    corners = torch.tensor([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]])
    return Surface(
        vertices=corners + torch.tensor([x, 0, depth]),
        normals=torch.tensor([[0.0, 0, -1]]).expand(4, 3),
        places=torch.zeros(4, 2),
        triangles=torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32),
        texture=torch.tensor([200, 200, 200, alpha], dtype=torch.uint8).expand(2, 2, 4),
        material=Material(gloss=0.0, cutout=cutout),
    )


def lit(lamp: tuple[float, float, float], around: float = 0.0) -> Lighting:
    directions = torch.nn.functional.normalize(torch.tensor([lamp, [0.0, 0, 1], [0.0, 0, 1]]), dim=1)
    harmonics = torch.zeros(9, 3)
    harmonics[0] = around
    return Lighting(directions=directions, colours=torch.tensor([[1.0] * 3, [0.0] * 3, [0.0] * 3]), harmonics=harmonics)


def test_a_square_falls_where_the_pinhole_camera_says(renderer):
    picture = renderer.render([square(100, 1000, x=50)], lit((0, 0, -1)), 100.0, CENTER, torch.tensor([0.0, 0, 1000]))
    # x from -50 to 150 mm at 1 m: 26.5 to 46.5 px between the outer edges of pixels
    expected = torch.zeros(64, 64)
    expected[22:42, 27:47] = 1
    torch.testing.assert_close(picture.coverage, expected)
    inside = picture.depth[60, 80]
    assert abs(float(inside) - 1000) < 1 and picture.depth[0, 0].isinf()


def test_what_is_nearer_hides_and_shades(renderer):
    wall, plate = square(200, 1000), square(30, 900)
    ahead = renderer.render([wall, plate], lit((0, 0, -1)), 100.0, CENTER, torch.tensor([0.0, 0, 950]))
    assert abs(float(ahead.depth[63, 63]) - 900) < 1
    # Light from the left throws the plate's shadow of 100 mm to the right
    aside = renderer.render([wall, plate], lit((-1, 0, -1)), 100.0, CENTER, torch.tensor([0.0, 0, 950]))
    shadow, light = aside.colour[:, 32, 41], aside.colour[:, 32, 20]
    assert shadow.max() < 0.1 * light.min()


def test_thin_parts_let_through_and_leave_depth_alone(renderer):
    wall, veil = square(200, 1000), square(50, 900, alpha=100, cutout=True)
    picture = renderer.render([wall, veil], lit((0, 0, -1)), 100.0, CENTER, torch.tensor([0.0, 0, 950]))
    assert abs(float(picture.depth[63, 63]) - 1000) < 1
    assert (picture.coverage == 1).sum() >= 40 * 40


def test_light_from_around_reaches_every_side(renderer):
    picture = renderer.render(
        [square(100, 1000)], lit((0, 0, 1), around=0.5), 100.0, CENTER, torch.tensor([0.0, 0, 1000])
    )
    assert picture.colour[:, 32, 32].min() > 0.3


def test_what_is_loaded_is_freed(renderer, monkeypatch):
    """OpenGL frees nothing by itself: a set of thousands of faces would fill the memory with vertices."""
    loaded, load = [], Renderer._load
    monkeypatch.setattr(Renderer, "_load", lambda *given: loaded.append(load(*given)) or loaded[-1])
    renderer.render([square(100, 1000)], lit((0, 0, -1)), 100.0, CENTER, torch.tensor([0.0, 0, 1000]))
    assert len(loaded) == 1 and len(loaded[0]) == 5
    assert {type(resource.mglo).__name__ for resource in loaded[0]} == {"InvalidObject"}
