"""The package mtcnn: its files read without running them, its networks in ours, and what they find."""

from __future__ import annotations

import importlib.util
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from clnf_torch.converters import ConversionError
from clnf_torch.converters.mtcnn_package import LICENCE, face_detector_record
from clnf_torch.converters.mtcnn_package.architectures import ARCHITECTURES
from clnf_torch.converters.mtcnn_package.arrays import read_arrays
from clnf_torch.converters.mtcnn_package.lz4 import decompress_frame
from clnf_torch.converters.openface.mtcnn import convert_mtcnn
from clnf_torch.detection.mtcnn import MTCNN, MTCNNConfig
from clnf_torch.files.archive import save_archive
from clnf_torch.geometry.boxes import box_iou
from clnf_torch.models.layers import build_network
from tests.converters.mtcnn_package_files import (
    forward,
    framed,
    pickled,
    pickled_array,
    plain,
    random_arrays,
    write_package,
)

CONTENT = b"face" * 9 + b" mtcnn" + bytes(300)
# lz4.frame.compress(CONTENT, store_size=False), and (CONTENT, block_checksum=True, content_checksum=True); lz4 4.4
FRAME = bytes.fromhex("04224d186040821a0000004f6661636504000d7f206d74636e6e000100ff1450000000000000000000")
FULL_FRAME = bytes.fromhex(
    "04224d187c405601000000000000b21a0000004f6661636504000d7f206d74636e6e000100ff145000000000004853b1540000000097097823"
)
ASTRONAUT = (180.0, 88.0, 92.0, 90.0)  # x, y, width, height: brows to chin and jaw to jaw, by eye
ONE = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def package(tmp_path):
    return write_package(tmp_path / "mtcnn")


@pytest.fixture(scope="module")
def installed() -> Path:
    """The package itself; it is found, and never imported."""
    found = importlib.util.find_spec("mtcnn")
    if found is None or found.origin is None:
        pytest.skip("the package mtcnn is not installed: pip install --no-deps mtcnn==1.0.0")
    return Path(found.origin).parent


def shown(name: str) -> torch.Tensor:
    """Noise of the size that a network looks at; the first one also takes larger images of odd sides."""
    side = ARCHITECTURES[name].side
    height, width = (25, 32) if name == "pnet" else (side, side)
    return 2 * torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(3), dtype=torch.float64) - 1


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_networks_say_what_the_packages_do(package, name):
    network = build_network(face_detector_record(package)[name]["layers"], torch.float64)
    for image, answer in zip(shown(name), network(shown(name)), strict=True):
        expected = torch.from_numpy(forward(name, random_arrays(name), image.numpy()))
        assert expected.abs().max() > 0.1
        torch.testing.assert_close(answer, expected)


def test_a_detector_comes_of_it(package):
    frames = torch.randint(0, 256, (1, 3, 90, 80), generator=torch.Generator().manual_seed(5), dtype=torch.uint8)
    detector = MTCNN.from_record(face_detector_record(package))
    assert detector.config == MTCNNConfig(min_face=40, thresholds=(0.6, 0.7, 0.9))
    assert detector.detect(frames).boxes.shape[1] == 4


def test_the_licence_goes_with_it(package, tmp_path):
    save_archive({"face_detector": face_detector_record(package)}, tmp_path / "m.pt")
    notice = torch.load(tmp_path / "m.pt", weights_only=True)["face_detector"]["licence"]
    assert notice == LICENCE and "Copyright (c) 2019-2024 Iván de Paz Centeno" in notice
    assert "The above copyright notice and this permission notice shall be included" in " ".join(notice.split())
    licences = Path(__file__).resolve().parents[2] / "weights" / "LICENSES.md"
    assert " ".join(notice.split()) in " ".join(licences.read_text(encoding="utf-8").replace(">", "").split())


def test_a_wheel_is_read_like_a_folder(package, tmp_path):
    with zipfile.ZipFile(tmp_path / "mtcnn.whl", "w") as wheel:
        for file in sorted(package.rglob("*.lz4")):
            wheel.write(file, f"mtcnn/{file.relative_to(package).as_posix()}")
    ours, theirs = face_detector_record(tmp_path / "mtcnn.whl"), face_detector_record(package)
    assert torch.equal(ours["onet"]["layers"][11]["weight"], theirs["onet"]["layers"][11]["weight"])


@pytest.mark.parametrize("padding", [0, 1, 15])
def test_arrays_are_read(padding):
    first, second = read_arrays(b"\x80\x04](" + pickled_array(ONE, padding=padding) * 2 + b"e.")
    assert np.array_equal(first, ONE) and np.array_equal(second, ONE)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\x80\x04cos\nsystem\n" + plain(("touch ran",)) + b"R.", "asks for os.system"),
        (b"\x80\x04cbuiltins\neval\n" + plain(("1",)) + b"R.", "asks for builtins.eval"),
        (b"\x80\x04cnumpy\nload\n" + plain(("x",)) + b"R.", "asks for numpy.load"),
        (b"\x80\x04](" + pickled_array(ONE, subclass=b"cnumpy\nmatrix\n") + b"e.", "asks for numpy.matrix"),
        (b"\x80\x04](" + pickled_array(ONE, subclass=plain("memmap")) + b"e.", "an array of order 'C'; expected plain"),
        (pickled([ONE.astype(np.float64)]), "of type 'f8'"),
        (pickled([ONE.astype(">f4")]), "byte order '>'"),
        (pickled([np.zeros((0, 3), np.float32)]), r"shape \(0, 3\), which is none"),
        (pickled([ONE])[:-8], "ends inside an array"),
        (pickled([ONE])[:60], "no list of arrays can be read"),
        (b"\x80\x04](cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81e.", "something else than a list"),
        (plain({"weights": 1}) + b".", "something else than a list"),
        (b"nonsense", "no list of arrays can be read"),
        (b"", "no list of arrays can be read"),
    ],
)
def test_whatever_is_no_list_of_arrays_is_refused(content, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=complaint):
        read_arrays(content)
    assert not list(tmp_path.iterdir())


def test_frames_that_lz4_made():
    assert decompress_frame(FRAME, 999) == decompress_frame(FULL_FRAME, 999) == CONTENT
    assert decompress_frame(framed(CONTENT, size=50), 999) == CONTENT


@pytest.mark.parametrize("length", range(1, 40))
def test_a_frame_that_ends_early_is_refused(length):
    with pytest.raises(ValueError, match="LZ4 frame"):
        decompress_frame(FRAME[:length], 999)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"PK\x03\x04 a zip", "does not begin"),
        (b"\x04\x22\x4d\x18\x41\x40\xc0" + bytes(8), "flags 0x41"),
        (b"\x04\x22\x4d\x18\x40\x40\xc0" + b"\x04\0\0\0\x10a\x02\0" + bytes(4), "repeats bytes 2 before the end of 1"),
        (b"\x04\x22\x4d\x18\x40\x40\xc0" + b"\x04\0\0\0\x10a\x00\0" + bytes(4), "repeats bytes 0 before"),
    ],
)
def test_bad_frames(content, complaint):
    with pytest.raises(ValueError, match=complaint):
        decompress_frame(content, 999)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"<html>not found</html>", "does not begin as an LZ4 frame"),
        (framed(b"nonsense"), "no list of arrays can be read"),
        (framed(pickled(random_arrays("pnet")[1:])), r"number 0 of shape \(3, 3, 3, 10\), found \(10,\)"),
        (framed(pickled([np.full_like(a, np.nan) for a in random_arrays("pnet")])), "finite numbers"),
    ],
)
def test_damage_is_one_sentence(package, content, complaint):
    (package / "assets" / "weights" / "pnet.lz4").write_bytes(content)
    with pytest.raises(ConversionError, match=complaint) as caught:
        face_detector_record(package)
    assert str(caught.value).startswith(str(package)) and "pnet.lz4" in str(caught.value)
    assert "\n" not in str(caught.value) and "give the wheel of mtcnn 1.0.0" in str(caught.value)


@pytest.mark.parametrize("kind", ["nothing", "empty folder", "text", "empty wheel"])
def test_sources_that_are_not_the_package(tmp_path, kind):
    source = tmp_path / "mtcnn.whl"
    if kind == "empty folder":
        source.mkdir()
    elif kind == "text":
        source.write_text("not a zip")
    elif kind == "empty wheel":
        zipfile.ZipFile(source, "w").close()
    with pytest.raises(ConversionError, match=r"mtcnn\.whl: expected the package mtcnn with its file .*found none"):
        face_detector_record(source)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_package_itself(installed, name):
    arrays = read_arrays(decompress_frame((installed / "assets" / "weights" / f"{name}.lz4").read_bytes()))
    network = build_network(face_detector_record(installed)[name]["layers"], torch.float64)
    answer = network(shown(name)[:1])[0]
    torch.testing.assert_close(answer, torch.from_numpy(forward(name, arrays, shown(name)[0].numpy())))


def test_the_package_has_openfaces_networks(installed, openface_models):
    """Both took over what the authors of the method published: the numbers are the same to the last bit."""
    ours = face_detector_record(installed)
    theirs = convert_mtcnn(openface_models / "mtcnn_detector" / "MTCNN_detector.txt")
    for name in ARCHITECTURES:
        for layer, other in zip(ours[name]["layers"], theirs[name]["layers"], strict=True):
            assert list(layer) == list(other)
            for field, value in layer.items():
                same = torch.equal(value, other[field]) if isinstance(value, torch.Tensor) else value == other[field]
                assert same, (name, field)


def test_the_astronaut_is_found(installed):
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed: pip install scikit-image")
    image = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None]
    found = MTCNN.from_record(face_detector_record(installed)).detect(image)
    assert len(found.boxes) == 1 and found.score[0] > 0.99
    assert box_iou(found.boxes[0], torch.tensor(ASTRONAUT)) > 0.7


def bomb(size: int) -> bytes:
    """An LZ4 frame of a few kilobytes: one byte, repeated so often."""
    match = b"\x1fa\x01\x00" + b"\xff" * (size // 255) + b"\x00"
    return b"\x04\x22\x4d\x18\x40\x40\xc0" + len(match).to_bytes(4, "little") + match + bytes(4)


def test_a_frame_is_not_unpacked_beyond_its_limit():
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than 5,000 bytes in it"):
        decompress_frame(bomb(1 << 28), 5000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def wheel(path: Path, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A wheel whose first network is this."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("mtcnn/assets/weights/pnet.lz4", content)
    return path


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: wheel(path, bytes(1 << 28)), "268,435,456 bytes, compressed by method 8"),
        (lambda path: wheel(path, b"x", zipfile.ZIP_BZIP2), "1 bytes, compressed by method 12"),
        (
            lambda path: wheel(path, framed(b"\x80\x04]r\xff\xff\xff\x3f.")),
            "expected 13 arrays",
        ),
        (lambda path: wheel(path, framed(b"\x80\x04\x96" + b"\xff" * 7 + b"\x00.")), "no list of arrays can be read"),
        (lambda path: wheel(path, bomb(1 << 23)), "the LZ4 frame has more than"),
        (lambda path: encrypted(wheel(path, b"x")), "an encrypted file"),
        (lambda path: path.write_bytes(b"") or path, "none"),
        (lambda path: path.mkdir() or path, "no"),
    ],
    ids=["bomb", "method", "memo", "bytearray", "frame", "encrypted", "empty", "folder"],
)
def test_wheels_that_promise_too_much(tmp_path, make, complaint):
    path = make(tmp_path / "mtcnn.whl")
    tracemalloc.start()
    with pytest.raises(ConversionError, match=complaint) as caught:
        face_detector_record(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20 and len(str(caught.value)) <= 300 and str(caught.value).isprintable()


def encrypted(path: Path) -> Path:
    """A wheel whose record says that it is encrypted."""
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    return path


def test_a_wheel_that_a_browser_renamed_is_named(package, tmp_path):
    (tmp_path / "mtcnn-1.0.0 (1).whl").write_bytes(b"")
    with pytest.raises(ConversionError, match=r"did you mean mtcnn-1\.0\.0 \(1\)\.whl\?"):
        face_detector_record(tmp_path / "mtcnn-1.0.0.whl")
