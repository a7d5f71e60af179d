"""Tables, boxes and annotations as text: read as `repair`, `detect` and `train` read them, and written again."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import torch

from clnf_torch.cli.tables.landmarks import COLUMNS, read_table
from clnf_torch.files.table_text import TableError
from clnf_torch.media.boxes import BoxError, boxes_of, check_box, read_boxes_file
from clnf_torch.training.data.annotations import AnnotationError, read_annotations, read_pts
from tests.fuzz.formats import Format
from tests.fuzz.mutations import mutate_bytes

# What tables have gone wrong with
TOKENS = (
    "", "nan", "inf", "-1", "1e999", "0x10", "1_0", "1.234,5", "1,5", '"', '""', "'", "#", "sep=;", ";", ",", "\t", "|",
    " ", "\n", "\r", "\n\n", "frame", "x_0", "x_68", "face_id", "repair", "{", "}", "[", "]", "null", "true", "\ufeff",
    "\u2028", "é", "9" * 400,
)  # fmt: skip


def prepare(folder: Path) -> list[Path]:
    """Tables with several delimiters and encodings, annotations, and boxes."""
    points = np.random.default_rng(0).uniform(0, 300, (6, 136)).round(3)
    rows = [
        ["frame", "face_id", *COLUMNS],
        *([str(1 + n // 2), str(n % 2), *map(str, row)] for n, row in enumerate(points)),
    ]
    for name, delimiter, encoding in (
        ("a", ",", "utf-8"),
        ("b", ";", "utf-16"),
        ("c", "\t", "latin-1"),
        ("d", ", ", "utf-8-sig"),
    ):
        text = "\n".join(delimiter.join(row) for row in rows) + "\n"
        (folder / f"{name}.csv").write_bytes((text.replace(".", ",") if name == "b" else text).encode(encoding))
    lines = "\n".join(f"{x} {y}" for x, y in points[0].reshape(68, 2))
    (folder / "face.pts").write_text(f"version: 1\nn_points:  68\n{{\n{lines}\n}}\n")
    (folder / "boxes.json").write_text(json.dumps({"a.jpg": [[1, 2, 30, 40.5], [5, 6, 7, 8]], "b.jpg": []}))
    np.savez(
        folder / "landmarks.npz", names=["a.jpg", "b.jpg"], landmarks=points[:2].reshape(2, 68, 2), split=["x", "y"]
    )
    return sorted(folder.iterdir())


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Damages bytes, or exchanges, drops, repeats and adds the cells and lines of a text."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
    if content[:2] == b"PK" or rng.random() < 0.3:
        return mutate_bytes(content, rng)
    text = content.decode(encoding)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(text) + 1) if rng.random() < 0.5 else rng.randrange(min(len(text), 60) + 1)
        end = rng.choice((start, text.find(",", start), text.find("\n", start), start + rng.randint(0, 30)))
        piece = rng.choice((rng.choice(TOKENS), rng.choice(TOKENS) * rng.randint(1, 40), text[start:end], ""))
        text = text[:start] + piece + text[max(start, end) :]
    return text.encode(encoding, "replace")


def use(path: Path) -> None:
    """Reads a file as its command does."""
    if path.suffix == ".json":
        return _use_boxes(path)
    if path.suffix == ".pts":
        assert read_pts(path, 68).isfinite().all(), "annotations that are not finite"
        return None
    if path.suffix == ".npz":
        assert read_annotations(path.parent).landmarks.isfinite().all(), "annotations that are not finite"
        return None
    table = read_table(path)
    assert table.landmarks.shape == (len(table), 68, 2), "rows without landmarks"
    changed, outcomes = torch.ones(len(table), dtype=torch.bool), ["kept"] * len(table)
    text = table.head() + table.text(enumerate(table.rows), table.landmarks + 1, changed, outcomes)
    path.write_text(text, encoding="utf-8")
    again = read_table(path)
    assert torch.equal(again.frame, table.frame), "other frames after writing"
    near = torch.isclose(again.landmarks, table.landmarks + 1, atol=1e-3, equal_nan=True)
    assert near.all(), "other landmarks after writing"
    return None


def _use_boxes(path: Path) -> None:
    """Reads boxes, and checks each one in an image."""
    table = read_boxes_file(path)
    for name in table:
        for box in boxes_of(Path(name), table):
            assert all(map(np.isfinite, check_box(box, 100, 100))), "a box that is not finite"


REFUSALS = (AnnotationError, BoxError, TableError)
FORMATS = (Format(name="tables", prepare=prepare, use=use, refusals=REFUSALS, mutate=mutate, share=0.5),)
