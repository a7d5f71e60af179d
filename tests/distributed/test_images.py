"""The plain callables: the rows of ``clnf-torch detect``, whatever the batch, the order and the sizes of the images."""

from __future__ import annotations

import fsspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from clnf_torch.distributed import images as module
from clnf_torch.distributed.images import DetectFaces, DetectSettings, decode_images
from clnf_torch.distributed.inputs import image_inputs
from tests.distributed.pictures import write_pictures


@pytest.fixture(scope="module")
def pictures(image, tmp_path_factory):
    """A folder of images of three sizes, and two files that are none."""
    return write_pictures(image, tmp_path_factory.mktemp("pictures"), 7)


@pytest.fixture
def expected(pictures, bundle, box, clnf_torch_cli, tmp_path):
    """What the command writes."""
    files = [each.name for each in image_inputs(str(pictures))]
    words = "--model", bundle, "--box", *box, "--parquet", tmp_path / "rows.parquet"
    assert clnf_torch_cli("detect", *files, *words).exit_code == 1
    return parquet.read_table(tmp_path / "rows.parquet")


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_rows_are_those_of_the_command(pictures, bundle, box, expected, batch):
    faces = DetectFaces(bundle, DetectSettings(box=tuple(box), batch=batch))
    rows, problems = faces(decode_images(image_inputs(str(pictures))))
    assert rows.equals(expected)
    assert [problem.partition(": ")[2] for problem in problems if problem] == [
        "expected an image, found an empty file",
        "expected an image, found something else",
    ]


def test_marks_are_erased_as_by_the_command_and_earlier_jobs_go_on(pictures, bundle, box, clnf_torch_cli, tmp_path):
    files = [each.name for each in image_inputs(str(pictures))]
    words = "--model", bundle, "--box", *box, "--parquet", tmp_path / "rows.parquet", "--erase-marks"
    assert clnf_torch_cli("detect", *files, *words).exit_code == 1
    settings = DetectSettings(box=tuple(box), erase_marks=True)
    rows, _ = DetectFaces(bundle, settings)(decode_images(image_inputs(str(pictures))))
    assert rows.equals(parquet.read_table(tmp_path / "rows.parquet"))
    assert settings.decisive()["erase_marks"] and "erase_marks" not in DetectSettings().decisive()


def test_images_beyond_the_limit_of_memory_wait_as_files(pictures, bundle, box, expected, monkeypatch):
    monkeypatch.setattr(module, "MOST_DECODED", 0)
    decoded = decode_images(image_inputs(str(pictures)))
    assert decoded["pixels"].null_count == len(decoded) - 1
    assert DetectFaces(bundle, DetectSettings(box=tuple(box)))(decoded)[0].equals(expected)


def test_images_of_an_object_store_are_those_of_the_disk(pictures, bundle, box, expected):
    store = fsspec.filesystem("memory")
    store.put(str(pictures), "/pictures", recursive=True)
    rows, problems = DetectFaces(bundle, DetectSettings(box=tuple(box)))(
        decode_images(image_inputs("memory:///pictures"))
    )
    assert rows.drop_columns("image").equals(expected.drop_columns("image"))
    assert all(name.startswith("memory://") for name in rows["image"].to_pylist())
    assert sum(problem is not None for problem in problems) == 2


def test_boxes_of_single_images_may_be_missing_or_wrong(pictures, bundle, box):
    first, second, third = image_inputs([str(pictures / f"{number}.png") for number in range(3)])
    boxes = {"0.png": [box, [0, 0, -1, 5]], "1.png": [box]}
    decoded = decode_images([first, second, third])
    rows, problems = DetectFaces(bundle, DetectSettings(boxes=boxes))(decoded)
    assert rows["image"].to_pylist() == [first.name, second.name]
    assert "has width -1" in problems[0]
    assert problems[1] is None
    assert "the file of boxes has no entry '2.png'" in problems[2]


def test_pixels_are_read_where_they_lie(pictures):
    decoded = decode_images(image_inputs(str(pictures / "0.png")))
    value = decoded["pixels"][0]
    assert module._pixels(value, decoded["height"][0].as_py(), decoded["width"][0].as_py()).data_ptr() == (
        value.as_buffer().address
    )
    assert isinstance(value, pa.LargeBinaryScalar)
