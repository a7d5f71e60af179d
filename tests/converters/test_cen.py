"""The bundle's experts compute what the file's experts compute, and each is stored once."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from clnf_torch.converters import convert
from clnf_torch.converters.openface.cen import read_cen
from clnf_torch.converters.openface.cen_stacks import MAX_PADDING
from tests.converters.evaluate import from_bundle, from_file, visible_slots
from tests.converters.model_directory import write_model
from tests.converters.openface_files import OWN_IN_FRONT, POINTS, UNSEEN, cen_pieces, matrix


def load(source: Path, out: Path, half: bool = False) -> dict:
    convert(source, out, half=half)
    return torch.load(out, weights_only=True)["model"]


def check_responses(record: dict, cen_path: Path, tolerance: float) -> None:
    cen, rng = read_cen(cen_path, record["visible"].shape[1]), np.random.default_rng(0)
    slots = visible_slots(record)
    assert len(slots) == cen.visible.sum() > 0
    for view, landmark in slots:
        patch = rng.normal(size=(cen.support, cen.support))
        patch /= np.linalg.norm(patch)
        expected = from_file(cen, view, landmark, patch)
        assert from_bundle(record, view, landmark, patch) == pytest.approx(expected, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-6), (True, 5e-3)])
def test_small_experts_respond_alike(model_main, tmp_path, half, tolerance):
    for record in load(model_main, tmp_path / "m.pt", half)["experts"]:
        check_responses(record, model_main.parent / record["openface"]["file"], tolerance)


def test_free_experts_respond_alike(free_model, tmp_path):
    for record in load(free_model, tmp_path / "m.pt")["experts"]:
        check_responses(record, free_model / record["openface"]["file"], 2e-6)


def test_fields_of_a_record(model_main, tmp_path):
    record = load(model_main, tmp_path / "m.pt")["experts"][0]
    assert (record["family"], record["scale"], record["support"]) == ("cen", 0.25, 3)
    torch.testing.assert_close(record["view_centers"][1], torch.tensor([0, -np.pi / 6, 0], dtype=torch.float64))
    assert record["visible"].dtype == record["flipped"].dtype == torch.bool
    assert record["expert"].dtype == torch.int64 and record["confidence"].dtype == torch.float64
    assert bool(((record["expert"] < 0) == ~record["visible"]).all())
    assert record["flipped"].tolist() == [
        [landmark not in OWN_IN_FRONT for landmark in range(POINTS)],
        [False] * POINTS,
        [landmark != 3 for landmark in range(POINTS)],  # view 2 is empty; landmark 3 is not seen in it
    ]


def test_confidences_of_mirrored_experts_are_the_files_own(model_main, tmp_path):
    record = load(model_main, tmp_path / "m.pt")["experts"][0]
    pieces = cen_pieces(scale=0.25, seed=0)
    expected = [[struct.unpack("<d", pieces[f"confidence {v},{i}"])[0] for i in range(POINTS)] for v in range(3)]
    assert record["confidence"].tolist() == expected


def test_each_expert_is_stored_once_in_runs_of_a_view_shared_ones_first(free_model, tmp_path):
    record = load(free_model, tmp_path / "m.pt")["experts"][0]
    count = sum(len(stack["biases"][0]) for stack in record["stacks"])
    assert count == 39 + 68 + 68 + 35
    start = 0
    for stack in record["stacks"]:
        numbers = range(start, start := start + len(stack["biases"][0]))
        keys = []
        for number in numbers:
            view, landmark = torch.nonzero((record["expert"] == number) & ~record["flipped"])[0].tolist()
            keys.append((view, -int((record["expert"][view] == number).sum()), landmark))
        assert keys == sorted(keys)
        assert {-uses for view, uses, _ in keys if view} <= {1}
    assert int((torch.bincount(record["expert"][0]) == 2).sum()) == 29  # as many as have a twin in the frontal view


def test_uniform_experts_make_one_unpadded_stack(tmp_path):
    record = load(write_model(tmp_path / "model", mixed=False), tmp_path / "m.pt")["experts"][0]
    (stack,) = record["stacks"]
    assert stack["activations"] == ["relu", "sigmoid"]
    assert [tuple(w.shape) for w in stack["weights"]] == [(7, 9, 3), (7, 3, 1)]
    assert [tuple(b.shape) for b in stack["biases"]] == [(7, 3), (7, 1)]


def test_half_is_float16(model_main, tmp_path):
    for record in load(model_main, tmp_path / "m.pt", half=True)["experts"]:
        for stack in record["stacks"]:
            assert {t.dtype for t in (*stack["weights"], *stack["biases"])} == {torch.float16}


def test_mirror_tables_of_the_last_file_serve_all(model_main, tmp_path):
    pieces = cen_pieces(scale=0.5, seed=1)
    pieces["mirror_inds"] = matrix(np.array([(2, 0, 3, 4, 0)], "<i4"))
    (model_main.parent / "cen_patches_0.50_of.dat").write_bytes(b"".join(pieces.values()))
    first = load(model_main, tmp_path / "m.pt")["experts"][0]
    assert int(first["expert"][0, 1]) == int(first["expert"][0, 0])
    assert int(first["expert"][0, 4]) == int(first["expert"][0, 0])  # the first file says 3


def test_an_expert_behind_an_unseen_landmark_is_kept_for_export(model_main, tmp_path):
    pieces = cen_pieces(scale=0.25, seed=0)
    for name in [name for name in pieces if name.startswith("visible 1")]:
        seen = np.ones((POINTS, 1), "<i4")
        seen[[0, UNSEEN]] = 0
        pieces[name] = matrix(seen)
    (model_main.parent / "cen_patches_0.25_of.dat").write_bytes(b"".join(pieces.values()))
    record = load(model_main, tmp_path / "m.pt")["experts"][0]
    assert int(record["expert"][1, 0]) == -1 and int(record["openface"]["own"][1, 0]) >= 0


def test_padding_never_multiplies_a_small_file(model_main, tmp_path):
    """One wide expert among narrow ones gets a stack of its own."""
    rng, pieces = np.random.default_rng(0), cen_pieces(scale=0.25, mixed=False)
    wide = 4000
    pieces["bias 1,0 0"] = matrix(rng.normal(size=(wide, 1)).astype("<f4"))
    pieces["weight 1,0 0"] = matrix(rng.normal(size=(wide, 10)).astype("<f4"))
    pieces["weight 1,0 1"] = matrix(rng.normal(size=(1, wide)).astype("<f4"))
    path = model_main.parent / "cen_patches_0.25_of.dat"
    path.write_bytes(b"".join(pieces.values()))
    record = load(model_main, tmp_path / "m.pt")["experts"][0]
    stored = sum(t.nbytes for stack in record["stacks"] for t in stack["weights"])
    assert len(record["stacks"]) == 2 and stored < MAX_PADDING * path.stat().st_size
    check_responses(record, path, 1e-5)
