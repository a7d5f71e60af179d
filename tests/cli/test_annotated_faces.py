"""Annotated faces are read for all trainings: what takes long is said before."""

from __future__ import annotations

import torch

from clnf_torch.cli import annotated_faces


def test_reading_is_said_before_it_begins(four_copies, monkeypatch, capsys):
    said_before = []

    def cut_crops(*arguments):
        said_before.append(capsys.readouterr().err)
        return crops(*arguments)

    crops = annotated_faces.cut_crops
    monkeypatch.setattr(annotated_faces, "cut_crops", cut_crops)
    found, cut = annotated_faces.read_crops(four_copies, None, 1, torch.device("cpu"), (32, 2.0))
    assert len(found) == len(cut) == 4
    assert said_before == [f"reading 4 annotated faces of {four_copies}\n"]
