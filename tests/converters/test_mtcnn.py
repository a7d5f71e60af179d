"""OpenFace's face detector: found beside a model, converted with it, refused where it is damaged."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.converters import ConversionError, convert
from clnf_torch.converters.openface.mtcnn import convert_mtcnn, find_mtcnn, mtcnn_files
from clnf_torch.detection import load_face_detector
from clnf_torch.detection.mtcnn import MTCNN
from tests.converters.mtcnn_files import NETWORKS, network_pieces, write_mtcnn


@pytest.fixture
def description(tmp_path):
    return write_mtcnn(tmp_path / "model")


def test_it_is_found_beside_a_model(description, tmp_path):
    assert find_mtcnn(tmp_path / "model") == description
    assert find_mtcnn(tmp_path) is None
    assert [path.name for path in mtcnn_files(description)] == [description.name, *(f"{n}.dat" for n in NETWORKS)]


def test_a_bundle_holds_it(model_main, tmp_path):
    description = write_mtcnn(model_main.parent)
    report = convert(model_main, tmp_path / "m.pt")
    assert report.face_detector == description
    names = [source.name for source in report.sources if "mtcnn" in source.name]
    assert names == [f"mtcnn_detector/{name}" for name in (description.name, *(f"{n}.dat" for n in NETWORKS))]
    frames = torch.randint(0, 256, (2, 3, 80, 90), generator=torch.Generator().manual_seed(5), dtype=torch.uint8)
    loaded = load_face_detector(tmp_path / "m.pt").detect(frames)
    assert torch.equal(loaded.boxes, MTCNN.from_record(convert_mtcnn(description)).detect(frames).boxes)


def test_a_bundle_without_it(model_main, tmp_path):
    assert convert(model_main, tmp_path / "m.pt").face_detector is None
    assert torch.load(tmp_path / "m.pt", weights_only=True)["face_detector"] is None


def test_openfaces_own(openface_models):
    record = convert_mtcnn(openface_models / "mtcnn_detector" / "MTCNN_detector.txt")
    kinds = {name: [layer["kind"] for layer in record[name]["layers"]] for name in ("pnet", "rnet", "onet")}
    block = ["conv", "prelu", "max_pool"]
    assert kinds["pnet"] == [*block, "conv", "prelu", "conv", "prelu", "conv"]
    assert kinds["rnet"] == [*block, *block, "conv", "prelu", "linear", "prelu", "linear"]
    assert kinds["onet"] == [*block * 3, "conv", "prelu", "linear", "prelu", "linear"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("PNet PNet.dat\nRNet RNet.dat", "a line ONet, found PNet, RNet"),
        ("PNet PNet.dat\nRNet RNet.dat\nONet ONet.dat\nRNet b.dat", "line 4: expected one line RNet"),
        ("PNet PNet.dat\nRNet\nONet ONet.dat", "line 2: expected a path after RNet"),
        ("PNet PNet.dat\nRNet nowhere.dat\nONet ONet.dat", "nowhere.dat: expected MTCNN's network RNet, found no such"),
        ("PNet RNet.dat\nRNet RNet.dat\nONet ONet.dat", "RNet.dat: byte"),
        ("# nothing\n", "a line PNet, found no modules"),
        ("", "an empty file"),
    ],
)
def test_bad_descriptions(description, text, complaint):
    description.write_text(text)
    with pytest.raises(ConversionError) as caught:
        convert_mtcnn(description)
    assert complaint in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>" + b"x" * 99, "a web page"),
        (b"a text that somebody saved here, longer than what is looked at first of all", "text"),
    ],
)
def test_files_that_are_no_networks(description, content, complaint):
    (description.parent / "ONet.dat").write_bytes(content)
    with pytest.raises(ConversionError, match=complaint) as caught:
        convert_mtcnn(description)
    assert "ONet.dat" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "layers", "found"),
    [("PNet", 5, "4 x 1 x 1"), ("PNet", 4, "3 x 3 x 3"), ("RNet", 3, "2 x 11 x 11"), ("ONet", 6, "an output of 5")],
)
def test_networks_of_other_outputs(description, name, layers, found):
    """The first layers of a network alone."""
    pieces = network_pieces(name)
    kept = [content for piece, content in pieces.items() if piece != "depth" and int(piece.split()[-1]) < layers]
    (description.parent / f"{name}.dat").write_bytes(layers.to_bytes(4, "little") + b"".join(kept))
    with pytest.raises(ConversionError, match=f"{name} to put out .* 6 numbers at least, found .*{found}"):
        convert_mtcnn(description)


def test_a_failure_leaves_no_bundle(model_main, tmp_path):
    onet = write_mtcnn(model_main.parent).parent / "ONet.dat"
    onet.write_bytes(onet.read_bytes()[:-1])
    with pytest.raises(ConversionError, match=r"ONet\.dat: byte"):
        convert(model_main, tmp_path / "m.pt")
    assert not (tmp_path / "m.pt").exists()


def test_the_bundle_is_not_written_over_a_network(model_main):
    pnet = write_mtcnn(model_main.parent).parent / "PNet.dat"
    with pytest.raises(ConversionError, match="one of the files to convert"):
        convert(model_main, pnet)
