"""Images from wherever a caller has them: paths, folders, patterns, Pillow's images, arrays, tensors, lists of them."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.geometry.frames import as_tensor, list_hint
from clnf_torch.geometry.pillow import is_pillow_image, pillow_pixels
from clnf_torch.media.image_folder import VIDEOS, description, image_files, natural_order
from clnf_torch.media.images import ImageError, read_image
from clnf_torch.media.pixel_depth import to_eight_bits

# Channels of gray images, and of those in colour without and with transparency
CHANNELS = (1, 3, 4)
# What may hold images
HELD = "a path, a folder, a pattern, an image of Pillow's, an array, a tensor"
# Numbers of axes, see `check_layout`
IMAGE, BATCH = (2, 3), (4,)
ARRAY_SHAPES = {2: "an image (H, W)", 3: "(H, W, 3)", 4: "a batch (F, H, W, 3)"}
TENSOR_SHAPES = {2: "an image (H, W)", 3: "(3, H, W)", 4: "a batch (F, 3, H, W)"}


@dataclass(frozen=True)
class ImageSource:
    """An image that may still have to be read.

    Attributes:
        name: Its path, or ``images[NUMBER]`` where it has none.
        image: A path, or what a caller has in memory.
    """

    name: str
    image: Any

    def pixels(self) -> Tensor:
        """The image as RGB, uint8, shape (3, H, W).

        Raises:
            ImageError: It cannot be read, or is no image.
        """
        if isinstance(self.image, Path):
            return read_image(self.image)
        try:
            return as_image(self.image)
        except ValueError as error:
            raise ImageError(f"{self.name}: {error}") from error


def image_sources(source: Any) -> list[ImageSource]:
    """The images of a source, in order.

    Args:
        source: A path, a folder, a pattern such as ``"faces/*.jpg"``, an image in memory, a batch of them, or a list
            or tuple of any of these.

    Raises:
        FileNotFoundError: It is one path, and there is no such file; or a pattern that nothing matches.
        TypeError: It, or an item of the list other than None, is of a type that holds no images.
        ValueError: It is an empty path, a folder without images, or a video; or an array or a tensor of which
            `check_layout` cannot say what it holds.
    """
    if isinstance(source, (list, tuple)):
        for number, item in enumerate(source):
            # Readers give None for an image that they cannot read
            if item is not None:
                check_type(item, f"item {number} of the list", HELD)
        return _numbered([each for item in source for each in _listed(item)])
    return _numbered(_found(source))


def as_image(image: Any) -> Tensor:
    """An image in memory as RGB, uint8, shape (3, H, W).

    Args:
        image: One of Pillow's, see `pillow_pixels`; an array (H, W), (H, W, 1) or (H, W, 3), RGB; or a tensor (H, W),
            (1, H, W) or (3, H, W), see `check_layout`. Deeper than eight bits, or floating point, see `to_eight_bits`;
            a fourth channel is dropped.

    Raises:
        ValueError: It has another shape or type.
    """
    if is_pillow_image(image):
        image = pillow_pixels(image)
    if not hasattr(image, "ndim"):
        raise ValueError(f"expected an image, found {type(image).__name__}")
    check_layout(image, IMAGE)
    pixels = image.detach() if isinstance(image, Tensor) else as_tensor("an image", image)
    if pixels.ndim == 3 and not isinstance(image, Tensor):
        pixels = pixels.permute(2, 0, 1)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    if not pixels.numel():
        raise ValueError(f"an image has shape {tuple(image.shape)}, which has no pixels")
    if pixels.dtype != torch.uint8:
        eight = to_eight_bits(pixels.float().cpu().numpy() if pixels.is_floating_point() else pixels.cpu().numpy())
        pixels = torch.from_numpy(eight).to(pixels.device)
    pixels = pixels[:3].expand(3, -1, -1)
    # As arrays lie in memory, they are shrunk and become gray in half the time
    return pixels if pixels.movedim(0, -1).is_contiguous() else pixels.contiguous()


def check_layout(images: Any, allowed: Sequence[int]) -> None:
    """Refuses arrays and tensors whose axes do not say what is an image, what a batch, and what its channels.

    Arrays have their channels last, tensors first. Two or three axes are one image, four a batch. A gray image needs no
    channel, a batch of them does: three of them would look like the channels of one.

    Args:
        images: An array or a tensor.
        allowed: The numbers of axes that it may have.

    Raises:
        ValueError: It has another number of axes, or its channels are elsewhere; says what to give instead.
    """
    shape, first = tuple(images.shape), isinstance(images, Tensor)
    ways_out = []
    if len(shape) in (3, 4):
        place, elsewhere = (shape[-3], shape[-1]) if first else (shape[-1], shape[-3])
        if len(shape) in allowed and place in CHANNELS:
            return
        if len(shape) == 3 and place not in CHANNELS:
            ways_out.append(f"{'[:, None]' if first else '[..., None]'} for {shape[0]} gray images")
        if elsewhere in CHANNELS and place not in CHANNELS:
            turn = "permute" if first else "transpose"
            axes = {(3, True): "2, 0, 1", (3, False): "1, 2, 0", (4, True): "0, 3, 1, 2", (4, False): "0, 2, 3, 1"}
            ways_out.append(f".{turn}({axes[len(shape), first]}) for RGB")
        elif len(shape) == 3 and 3 not in allowed:
            ways_out.append("[None] for one image")
    elif len(shape) in allowed:
        return
    kind, order = ("tensor", "first") if first else ("array", "last")
    shapes = TENSOR_SHAPES if first else ARRAY_SHAPES
    expected = f"{', '.join(shapes[axes] for axes in allowed)}, channels {order}"
    hint = f"; give it with {' or with '.join(ways_out)}" if ways_out else ""
    raise ValueError(f"the {kind} has shape {shape}; expected {expected}{hint}")


def _found(source: Any) -> list[Any]:
    """The images of one source; see `image_sources` for what it raises."""
    if not isinstance(source, (str, os.PathLike)):
        check_type(source, "the source", f"{HELD}, or a list of them{list_hint(source)}")
        if hasattr(source, "ndim"):
            check_layout(source, IMAGE + BATCH)
        return _listed(source)
    path = require_path(source)
    if path.is_dir():
        if files := image_files(path):
            return list(files)
        raise ValueError(f"{path}: expected images, found {description(path)}")
    if not path.exists():
        return matching_files(os.fspath(source))
    if path.suffix.lower() in VIDEOS:
        raise ValueError(f"{path}: expected images, found a video; give it to clnf_torch.track")
    return [path]


def require_path(source: str | os.PathLike[str]) -> Path:
    """The path of a source.

    Raises:
        ValueError: It is empty: the current folder's files would be read.
    """
    if not os.fspath(source):
        raise ValueError("the source is an empty path; give that of a file or a folder, or . for the current folder")
    return Path(source)


def check_type(value: Any, name: str, expected: str) -> None:
    """Refuses what can hold no image, whatever its contents are.

    Raises:
        TypeError: It is no path, no image of Pillow's, no array and no tensor.
    """
    if not isinstance(value, (str, os.PathLike)) and not hasattr(value, "ndim") and not is_pillow_image(value):
        raise TypeError(f"{name} is of type {type(value).__name__}; expected {expected}")


def matching_files(pattern: str) -> list[Path]:
    """The files that match a pattern, in natural order; see `image_sources` for what it raises."""
    if "://" in pattern:
        raise FileNotFoundError(f"{pattern}: is an address, which is not fetched; download the image and give its path")
    if not glob.has_magic(pattern):
        raise FileNotFoundError(f"{pattern}: there is no such file or folder")
    found = sorted((Path(name) for name in glob.glob(pattern, recursive=True)), key=natural_order)
    if files := [path for path in found if path.is_file()]:
        return files
    raise FileNotFoundError(f"{pattern}: no file matches this pattern")


def _listed(item: Any) -> list[Any]:
    """The images of an item of a list; what is none stays in it, to be a row of the problems."""
    if not isinstance(item, (str, os.PathLike)):
        return list(item) if getattr(item, "ndim", 0) == 4 else [item]
    path = Path(item)
    if path.is_dir() and os.fspath(item):
        return list(image_files(path)) or [path]
    try:
        return [path] if path.exists() else matching_files(os.fspath(item))
    except FileNotFoundError:
        return [path]


def _numbered(images: Sequence[Any]) -> list[ImageSource]:
    """Images with their names; those that Pillow read from a file are called so."""
    sources = []
    for number, image in enumerate(images):
        name = str(image) if isinstance(image, Path) else getattr(image, "filename", "") or f"images[{number}]"
        sources.append(ImageSource(str(name), image))
    return sources
