"""What a download left in a file's place is named by every reader, in a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from clnf_torch.cli.manifest import Manifest
from clnf_torch.converters.openface.errors import ConversionError, refuse_other_formats
from clnf_torch.converters.openface.text import read_text as read_model_text
from clnf_torch.converters.package_files import read_package_file
from clnf_torch.files.reading import InputError
from clnf_torch.files.table_text import read_table_text
from clnf_torch.media.boxes import read_boxes_file
from clnf_torch.models.bundle import load_bundle
from clnf_torch.models.schema import Fields
from clnf_torch.report import read_log
from clnf_torch.tracking.state import TrackState
from clnf_torch.training.checkpoint import Checkpoint
from clnf_torch.training.data.annotations import read_arrays, read_pts
from clnf_torch.training.shape.pdm import read_prior

READERS = {
    "bundle.pt": load_bundle,
    "checkpoint.pt": lambda path: Checkpoint(path, "task").load(Fields({})),
    "state.pt": TrackState.load,
    "faces.npz": read_arrays,
    "face.pts": lambda path: read_pts(path, 68),
    "prior.npz": read_prior,
    "manifest.json": Manifest,
    "boxes.json": read_boxes_file,
    "table.csv": read_table_text,
    "report.csv": read_log,
    "report.json": read_log,
    "report.parquet": read_log,
    "pdm.txt": lambda path: read_model_text(path, "a shape model"),
    "package.whl": lambda path: read_package_file(path, "mediapipe", "a.tflite", most=9, remedy="give it"),
}
CONTENTS = {
    "web page": b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><body>Sign in</body></html>",
    "pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", READERS)
def test_what_a_download_left_is_named(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(CONTENTS[content])
    with pytest.raises((OSError, InputError, ValueError), match=f"expected .*found a {content}") as caught:
        READERS[name](path)
    assert "damaged" not in str(caught.value) and "\n" not in str(caught.value)


def test_pages_in_the_place_of_binary_models_too(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="found a pointer of Git LFS in place of the file; fetch it with git lfs"):
        refuse_other_formats(CONTENTS["pointer of Git LFS"][:64], tmp_path / "cen.dat", 999, "patch experts")
