"""Images as they are read: always upright RGB, uint8, from whatever a file holds."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import av
import cv2
import numpy as np
import pytest
import torch

from clnf_torch.geometry.gray import to_gray
from clnf_torch.media.decoder_messages import caught_messages
from clnf_torch.media.images import ImageError, read_image
from tests.media.image_files import STORED, cmyk_jpeg, encoded, png_of_zeros, several_images, tiff, with_orientation


@pytest.fixture
def colours() -> np.ndarray:
    """An image of 5 x 7 pixels, BGR."""
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def written(path, pixels):
    """The path, with an image in it."""
    assert cv2.imwrite(str(path), pixels)
    return path


def rgb(pixels):
    """BGR (H, W, 3) as the tensor (3, H, W) that is expected."""
    return torch.from_numpy(pixels[..., ::-1].copy()).permute(2, 0, 1)


def test_colours_come_as_rgb(tmp_path, colours):
    assert torch.equal(read_image(written(tmp_path / "image.png", colours)), rgb(colours))


def test_gray_stays_the_same_gray(tmp_path):
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = read_image(written(tmp_path / "gray.png", gray))
    assert torch.equal(to_gray(image[None])[0], torch.from_numpy(gray))


def test_sixteen_bits_keep_the_upper_eight(tmp_path, colours):
    deep = colours.astype(np.uint16) * 256 + 77
    assert torch.equal(read_image(written(tmp_path / "deep.png", deep)), rgb(colours))


def test_transparency_is_dropped(tmp_path, colours):
    clear = np.dstack([colours, np.full(colours.shape[:2], 9, np.uint8)])
    assert torch.equal(read_image(written(tmp_path / "clear.png", clear)), rgb(colours))


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tiff", "bmp"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.98])
def test_a_cut_image_is_an_error(tmp_path, kind, share):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    path = written(tmp_path / f"cut.{kind}", pixels)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ImageError, match=rf"cut\.{kind}: "):
        read_image(path)


def test_damage_that_a_decoder_gets_over_is_said_with_the_name(tmp_path, capfd):
    path, said = written(tmp_path / "spoilt.jpg", np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)), []
    content = path.read_bytes()
    path.write_bytes(content[:-900] + bytes(600) + content[-300:])
    assert read_image(path, said.append).shape == (3, 64, 48)
    assert len(said) == 1 and said[0].startswith(
        f"{path}: the JPEG file is damaged, its image may be wrong in places: "
    )
    os.write(2, b"passed on\n")
    assert capfd.readouterr().err == "passed on\n"


def test_damage_that_ends_a_decoder_is_said_once(tmp_path, capfd):
    path = written(tmp_path / "spoilt.png", np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"spoilt\.png: cannot be decoded as PNG: damaged"):
        read_image(path)
    assert capfd.readouterr().err == ""


def test_what_others_print_while_an_image_is_decoded_is_passed_on(capfd):
    with caught_messages() as messages:
        os.write(2, b"libpng warning: strange\nsomebody else\n")
    assert messages == ["strange"] and capfd.readouterr().err == "somebody else\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_that_is_forked_while_another_thread_reads_can_read_and_has_its_stderr():
    before, reading = os.fstat(2), threading.Event()

    def read():
        with caught_messages():
            reading.set()
            time.sleep(0.3)

    reader = threading.Thread(target=read)
    reader.start()
    reading.wait()
    if not (child := os.fork()):
        signal.alarm(10)
        same = os.path.samestat(before, os.fstat(2))
        with caught_messages():
            os._exit(not same)
    reader.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_numbers_of_fewer_bits_in_sixteen_are_as_bright(tmp_path, bits, kind):
    gray = np.arange(256, dtype=np.uint16).reshape(16, 16)
    image = read_image(written(tmp_path / f"deep.{kind}", gray << (bits - 8)))
    assert torch.equal(image[0], torch.from_numpy(gray.astype(np.uint8)))


@pytest.mark.parametrize("largest", [1, 255, 4095, 65535])
def test_floating_point_is_read(tmp_path, largest):
    gray = np.arange(256, dtype=np.float32).reshape(16, 16)
    image = read_image(written(tmp_path / "float.tiff", gray / 255 * largest))
    assert (image[1].int() - torch.from_numpy(gray).int()).abs().max() <= 1


def test_highlights_above_one_and_what_is_no_number(tmp_path):
    light = np.array([[0.5, 3.0, np.inf], [np.nan, -1.0, -np.inf]], np.float32)
    # A NaN that signals
    light.view(np.uint32)[1, 0] = 0x7F800001
    image = read_image(written(tmp_path / "light.tiff", light))
    assert image[0].tolist() == [[128, 255, 255], [0, 0, 0]]


def test_numbers_that_no_image_has_are_named(tmp_path):
    path = written(tmp_path / "far.tiff", np.full((4, 4), 1e9, np.float32))
    with pytest.raises(ImageError, match=r"up to 1e\+09 are not read; expected 0 to 1, 0 to 255 or 0 to 65535"):
        read_image(path)


@pytest.mark.parametrize("bits", [8, 16])
def test_white_may_be_zero(tmp_path, bits):
    gray = np.arange(256, dtype=np.uint16).reshape(16, 16) * (257 if bits == 16 else 1)
    (tmp_path / "negative.tiff").write_bytes(tiff((2**bits - 1 - gray).astype(f"uint{bits}"), photometric=0))
    assert torch.equal(read_image(tmp_path / "negative.tiff")[0].flatten(), torch.arange(256, dtype=torch.uint8))


def test_colours_of_a_transparent_tiff_are_not_darkened(tmp_path, colours):
    clear = np.dstack([colours[..., ::-1], np.full(colours.shape[:2], 9, np.uint8)])
    (tmp_path / "clear.tiff").write_bytes(tiff(clear, photometric=2, tags=((338, 3, 2),)))
    assert torch.equal(read_image(tmp_path / "clear.tiff"), rgb(colours))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff"])
def test_a_photograph_is_turned_upright(tmp_path, orientation, kind):
    # Four corners: white, and three grays, so that every turn and mirror differs
    upright = np.kron(np.array([[255, 0], [80, 160]], np.uint8), np.ones((16, 24), np.uint8))
    stored = np.ascontiguousarray(STORED[orientation](upright))
    path = tmp_path / f"turned.{kind}"
    if kind == "tiff":
        path.write_bytes(tiff(stored, tags=((274, 3, orientation),)))
    else:
        path.write_bytes(with_orientation(written(path, stored).read_bytes(), orientation))
    image = read_image(path)[0].numpy()
    assert image.shape == upright.shape
    assert np.abs(image[::5, ::5].astype(int) - upright[::5, ::5]).max() < 12


def test_an_inverse_cmyk_photograph_is_no_negative(tmp_path):
    gray = np.kron(np.array([[30, 220]], np.uint8), np.ones((32, 32), np.uint8))
    path = tmp_path / "print.jpg"
    # Black ink alone, which is where the image is dark
    path.write_bytes(cmyk_jpeg([np.zeros_like(gray)] * 3 + [255 - gray]))
    assert (read_image(path).int() - torch.from_numpy(gray).int()).abs().max() <= 3


@pytest.mark.parametrize("kind", ["mp4", "avi", "wmv", "mkv", "mov", "flv", "mpg"])
def test_a_video_that_is_called_an_image_is_known_by_its_beginning(tmp_path, kind):
    encoder = {"wmv": "wmv2", "flv": "flv1", "mpg": "mpeg1video"}.get(kind, "mpeg4")
    path, container = tmp_path / "v.jpg", {"wmv": "asf", "mkv": "matroska"}.get(kind, kind)
    with av.open(path, "w", format="mpeg" if kind == "mpg" else container) as file:
        stream = file.add_stream(encoder, rate=25, width=64, height=48, pix_fmt="yuv420p")
        file.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        file.mux(stream.encode())
    with pytest.raises(ImageError, match=r"v\.jpg: expected an image, found a video; give it to clnf-torch track"):
        read_image(path)


def test_a_raw_photograph_is_no_video(tmp_path):
    (tmp_path / "raw.jpg").write_bytes(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom")
    with pytest.raises(ImageError, match="found something else"):
        read_image(tmp_path / "raw.jpg")


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tiff"])
def test_of_several_images_the_first_is_used_and_it_is_said(tmp_path, kind):
    images, said = [np.full((16, 24, 3), shade, np.uint8) for shade in (255, 0)], []
    path = tmp_path / f"two.{kind}"
    several_images(path, images)
    assert read_image(path, said.append).float().mean() > 250
    assert said == [f"{path}: holds several images; the first one is used"]
    single = written(tmp_path / "one.png", images[0])
    read_image(single, said.append)
    assert len(said) == 1


@pytest.mark.parametrize("kind", ["gif", "tga", "j2k", "ppm", "pgm", "pbm", "pam", "pfm", "hdr", "exr"])
def test_formats_that_opencv_need_not_know(tmp_path, kind):
    gray = np.kron(np.array([[0, 255], [255, 0]], np.uint8), np.ones((8, 16), np.uint8))
    path = tmp_path / f"image.{kind}"
    path.write_bytes(encoded(gray, kind))
    assert (read_image(path)[2].int() - torch.from_numpy(gray).int()).abs().max() <= 2


def test_a_directory_beyond_any_file_is_refused(tmp_path):
    (tmp_path / "big.tiff").write_bytes(b"II+\0\x08\0\0\0" + b"\xff" * 8 + bytes(32))
    with pytest.raises(ImageError, match=r"big\.tiff: cannot be decoded as TIFF"):
        read_image(tmp_path / "big.tiff")


def test_heic_without_a_decoder_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(ImageError, match=r'pip install "clnf-torch\[heic\]", or save it as JPEG'):
        read_image(tmp_path / "phone.heic")


def test_a_bomb_is_refused_by_its_header(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of_zeros(30_000))
    assert path.stat().st_size < 150_000
    with pytest.raises(ImageError, match=r"30000 x 30000 pixels are more than 268435456; .* CLNF_TORCH_MAX_PIXELS"):
        read_image(path)
    path.write_bytes(png_of_zeros(400))
    assert read_image(path).shape == (3, 400, 400)
    monkeypatch.setenv("CLNF_TORCH_MAX_PIXELS", "159999")
    with pytest.raises(ImageError, match="400 x 400 pixels are more than 159999"):
        read_image(path)
    monkeypatch.setenv("CLNF_TORCH_MAX_PIXELS", "many")
    with pytest.raises(ImageError, match="CLNF_TORCH_MAX_PIXELS='many': expected a number of pixels"):
        read_image(path)


@pytest.mark.parametrize("kind", ["gif", "tga", "j2k", "ppm", "pfm", "hdr"])
def test_bombs_of_other_formats_are_refused_too(tmp_path, kind, monkeypatch):
    (tmp_path / f"large.{kind}").write_bytes(encoded(np.zeros((64, 64), np.uint8), kind))
    monkeypatch.setenv("CLNF_TORCH_MAX_PIXELS", "4000")
    with pytest.raises(ImageError, match=rf"large\.{kind}: "):
        read_image(tmp_path / f"large.{kind}")


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name, found in (("pipe.png", "a pipe"), ("zero.png", "a device")):
        with pytest.raises(ImageError, match=f"{name}: .*found {found}"):
            read_image(tmp_path / name)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("\n <!DOCTYPE html><html><title>404 Not Found</title></html>")
    (tmp_path / "pointer.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    found = {
        "clip.mp4": "a video; give it to clnf-torch track",
        "empty.jpg": "an empty file",
        "page.jpg": "found a web page, .* download the file anew",
        "pointer.png": "found a pointer of Git LFS in place of the file; fetch it with git lfs pull",
        "videos": "a folder of videos \\(1\\); give them to clnf-torch track",
        "nowhere.png": "No such file",
    }
    for name, text in found.items():
        with pytest.raises(ImageError, match=text):
            read_image(tmp_path / name)
