"""Folders of images: which files are frames, in which order, and what a user should know about them."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from clnf_torch.files.names import escaped_name

IMAGES = {
    ".avif", ".bmp", ".exr", ".gif", ".hdr", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pam",
    ".pbm", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
}  # fmt: skip
VIDEOS = {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".webm", ".wmv"}
# What `detect --draw` adds to a name
DRAWN = "_landmarks"
# What a description of an input's outputs is called, as OpenFace writes it beside them, and how it names drawings
DETAILS, DESCRIBED_DRAWING = "_of_details.txt", {"image": "Output image:", "video": "Output video:"}
# What `detect --draw` adds before that where several images share it
NUMBER = re.compile(r"-[0-9]+$")
DECIMAL = re.compile(r"[0-9]+\.[0-9]+")


def image_files(folder: Path) -> list[Path]:
    """The images of a folder in natural order; those in folders below it, and hidden ones, are left out.

    Left out, too, are `drawings`.

    Raises:
        OSError: The folder cannot be read.
    """
    return _listed(folder, IMAGES, drawn=False)


def video_files(folder: Path) -> list[Path]:
    """The videos of a folder in natural order; those in folders below it, hidden ones, and `drawings` are left out.

    Raises:
        OSError: The folder cannot be read.
    """
    return _listed(folder, VIDEOS, drawn=False)


def drawings(folder: Path) -> list[Path]:
    """The images and videos of a folder that were drawn by an earlier run, as far as the folder itself tells.

    ``detect --draw`` draws NAME_landmarks.png, or NAME-2_landmarks.png and so on, beside NAME.jpg or another kind of
    image; what OpenFace's programs or ``clnf-torch openface`` draw is named in NAME_of_details.txt beside it.

    Raises:
        OSError: The folder cannot be read.
    """
    return _listed(folder, IMAGES | VIDEOS, drawn=True)


def _listed(folder: Path, kinds: Collection[str], *, drawn: bool) -> list[Path]:
    """The drawings of these kinds in a folder, or the other files."""
    shown = [file for file in folder.iterdir() if _is_shown(file)]
    found = [file for file in shown if file.suffix.lower() in kinds and file.is_file()]
    names, stems = {file.name for file in shown}, {file.stem for file in found if file.suffix.lower() in IMAGES}
    drawings = (_is_drawn(file, stems) or (f"{file.stem}{DETAILS}" in names and _is_described(file)) for file in found)
    return sorted((file for file, is_one in zip(found, drawings, strict=True) if is_one == drawn), key=natural_order)


def notes_on(folder: Path, files: list[Path]) -> list[str]:
    """What is unusual about the images of a folder, a line each."""
    kinds = defaultdict[str, list[str]](list)
    for file in files:
        kinds[file.stem].append(file.name)
    notes, doubled = [], [names for names in kinds.values() if len(names) > 1]
    if doubled:
        names = " and ".join(name[:60] for name in doubled[0][:2])
        notes.append(f"{folder}: several images of one name ({len(doubled)} times), as {names}; each one is a frame")
    if all(DECIMAL.fullmatch(file.stem) for file in files):
        by_value = sorted(files, key=lambda file: float(file.stem))
        swapped = next((pair for pair in zip(files, by_value, strict=True) if pair[0] != pair[1]), None)
        if swapped:
            first, second = swapped[0].name[:60], swapped[1].name[:60]
            notes.append(f"{folder}: {first} comes before {second}, as in file managers; pad the numbers with zeros")
    videos = sum(_is_shown(file) and file.suffix.lower() in VIDEOS for file in folder.iterdir())
    if videos:
        notes.append(f"{folder}: its {len(files)} images are the frames; videos beside them ({videos}) are left out")
    return notes


def description(folder: Path) -> str:
    """What a folder holds that was given as an image, and which command takes it."""
    try:
        shown = [file for file in folder.iterdir() if _is_shown(file)]
    except OSError as error:
        return f"a folder that cannot be read: {error.strerror or error}"
    suffixes = [file.suffix.lower() for file in shown]
    videos, images = (sum(suffix in kinds for suffix in suffixes) for kinds in (VIDEOS, IMAGES))
    if videos:
        return f"a folder of videos ({videos}); give them to clnf-torch track one by one"
    if images:
        return f"a folder of images ({images}); give them one by one, or the folder to clnf-torch track as one video"
    if folders := sum(file.is_dir() for file in shown):
        return f"a folder of folders ({folders}), which are not looked into; give these"
    return "a folder without images"


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """A key that sorts names as file managers do: signs, then numbers by value, then letters of either case."""
    name = unicodedata.normalize("NFC", path.name).casefold()
    words = re.findall(r"[0-9]+|[^0-9]", name)
    key = [(1, int(word), "") if word[0] in "0123456789" else (2 * word.isalpha(), 0, word) for word in words]
    return [*key, (-1, 0, path.name)]


def _is_shown(file: Path) -> bool:
    """Whether file managers show it; macOS writes ._NAME beside NAME on foreign disks."""
    return not file.name.startswith(".")


def _is_drawn(file: Path, stems: set[str]) -> bool:
    """Whether a file is called as what ``detect --draw`` draws of an image beside it."""
    if file.suffix != ".png" or not file.stem.endswith(DRAWN):
        return False
    source = file.stem.removesuffix(DRAWN)
    return source in stems or NUMBER.sub("", source) in stems


def _is_described(file: Path) -> bool:
    """Whether the description beside a file names it as a drawing."""
    try:
        lines = file.with_name(f"{file.stem}{DETAILS}").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    return any(f"{said}{escaped_name(file.name)}" in lines for said in DESCRIBED_DRAWING.values())
