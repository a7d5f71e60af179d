"""What a manifest's entries of images say: of which images files were made, and which showed no face."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Entry = Mapping[str, Any]
"""An entry of a manifest as it stands in the file; that of a run over images has "inputs", one for each image."""


def images_by_output(entries: Iterable[Entry]) -> dict[str, list[dict[str, Any]]]:
    """The images that each table and drawing was made of, as they were entered."""
    found = defaultdict[str, list[dict[str, Any]]](list)
    for entry in entries:
        for image in entry.get("inputs", ()):
            for output in {*entry["outputs"].values(), *files_of_image(image)}:
                found[output].append(image)
    return found


def inputs_without_face(entries: Iterable[Entry], model: str, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Images, as they were entered, in which this model found no face with these settings; others may find one.

    Args:
        entries: Of runs over images.
        model: SHA-256 of the weights file.
        settings: By option, as they are written; an entry may have further ones.
    """
    for entry in entries:
        known = entry.get("settings")
        same = isinstance(known, dict) and all(known.get(name) == value for name, value in settings.items())
        if same and entry.get("model") == model:
            yield from (image for image in entry.get("inputs", ()) if image.get("faces") == 0)


def files_of(entry: Entry) -> set[str]:
    """All files that an entry is about, those of its images too."""
    return set(entry["outputs"].values()).union(*map(files_of_image, entry.get("inputs", ())))


def files_of_image(image: Mapping[str, Any]) -> set[str]:
    """The files of one image of an entry alone."""
    return {image.get("drawing"), *image.get("outputs", {}).values()} - {None}


def drawings_of(entry: Entry) -> set[str]:
    """The drawings among the files of an entry."""
    images = entry.get("inputs", ())
    drawn = (of.get("outputs", {}).get("--draw") for of in (entry, *images))
    return {*drawn, *(image.get("drawing") for image in images)} - {None}


def without(entry: dict[str, Any], newer: Entry) -> dict[str, Any] | None:
    """An entry without what a newer one replaces; the same where that is nothing, None where nothing is left of it."""
    files = files_of(newer)
    if entry["outputs"] or "inputs" not in entry:
        return None if files & files_of(entry) else entry
    # Images without a face have no files
    again = {image.get("input") for image in newer.get("inputs", ())}
    left = [
        image
        for image in entry["inputs"]
        if not (files & own if (own := files_of_image(image)) else image.get("input") in again)
    ]
    if len(left) == len(entry["inputs"]):
        return entry
    return {**entry, "inputs": left} if left else None
