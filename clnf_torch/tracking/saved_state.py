"""The saved form of a tracker's state: its numbers by name, and what they must be to be taken up again."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from clnf_torch.tracking.appearance import PIXELS

FORMAT, VERSION = "clnf_torch track state", 7
# OpenFace ``failures_in_a_row``: begins here, so that the first failure makes it 0
NONE_MISSED = -1
# What a saved state holds: the kind of numbers, and the sizes for V videos, R tracks, N landmarks, M modes, S smoothed
# numbers of a face
SAVED: dict[str, tuple[str, str]] = {
    "frame": ("int64", "V"),
    "next_identity": ("int64", "V"),
    "preferred": ("float", "V 2"),
    "unsearched": ("bool", "V"),
    "scene": ("float", f"V {PIXELS}"),
    "video": ("int64", "R"),
    "identity": ("int64", "R"),
    "age": ("int64", "R"),
    "hits": ("int64", "R"),
    "landmarks": ("float", "R N 2"),
    "appearance": ("float", f"R {PIXELS}"),
    "confidence": ("float", "R"),
    "initialised": ("bool", "R"),
    "success": ("bool", "R"),
    "missed_frames": ("int64", "R"),
    "params_global": ("float", "R 6"),
    "params_local": ("float", "R M"),
    "smoothed_values": ("float", "R S"),
    "smoothed_speed": ("float", "R S"),
    "smoothed_trend": ("float", "R S"),
    "smoothed_known": ("bool", "R"),
    "template_pixels": ("uint8", "R h w"),
    "template_size": ("int64", "R 2"),
}


class StateError(ValueError):
    """A file or record is no state of a tracker; its text is one line."""


def check_saved_state(saved: Mapping[str, Any]) -> None:
    """Refuses what `TrackState.to_dict` cannot have made, and what would fail only later.

    Args:
        saved: Its plain values and tensors.

    Raises:
        StateError: Another format or version, a tensor of another type or shape than `SAVED` says, or contents that
            contradict one another; says which.
    """
    if saved.get("format") != FORMAT or saved.get("version") != VERSION:
        found = f"{saved.get('format')!r} of version {saved.get('version')!r}"
        raise StateError(f"expected a {FORMAT!r} of version {VERSION}, found {found[:100]}")
    sizes: dict[str, int] = {}
    for name, (kind, dims) in SAVED.items():
        if name not in saved:
            raise StateError(f"the saved state lacks {name!r}; save it again")
        if not _is_of(saved[name], kind):
            found = getattr(saved[name], "dtype", type(saved[name]).__name__)
            raise StateError(f"the saved state's {name}: expected {kind} numbers, found {found}")
        if not _has_shape(saved[name], dims.split(), sizes):
            known, found = (
                ", ".join(f"{dim} = {size}" for dim, size in sizes.items()),
                str(list(saved[name].shape))[:100],
            )
            raise StateError(f"the saved state's {name}: expected the shape {dims}, {known}; found {found}")
    if fault := _impossible(saved, sizes):
        raise StateError(f"the saved state: {fault}")


def _is_of(value: object, kind: str) -> bool:
    """Whether something is a tensor that holds numbers of a kind."""
    if not isinstance(value, Tensor) or value.layout != torch.strided:
        return False
    return value.is_floating_point() if kind == "float" else value.dtype == getattr(torch, kind)


def _has_shape(value: Tensor, dims: list[str], sizes: dict[str, int]) -> bool:
    """Whether a tensor has such a shape; sizes that were not known yet are entered."""
    if value.ndim != len(dims):
        return False
    expected = (
        int(dim) if dim.isdigit() else sizes.setdefault(dim, size) for dim, size in zip(dims, value.shape, strict=True)
    )
    return tuple(expected) == tuple(value.shape)


def _impossible(saved: Mapping[str, Any], sizes: Mapping[str, int]) -> str | None:
    """What cannot be in a saved state of these sizes, or None."""
    video, success = saved["video"], saved["success"]
    if ((video < 0) | (video >= sizes["V"])).any():
        return f"expected tracks of its {sizes['V']} videos, found others"
    if ((saved["identity"] < 0) | (saved["identity"] >= saved["next_identity"][video])).any():
        return "expected identities below the next free one of each video, found others"
    if any((saved[name] < least).any() for name, least in (("frame", 0), ("age", 0), ("missed_frames", NONE_MISSED))):
        return "expected counts of frames, found negative ones"
    limit = saved["template_size"].new_tensor([sizes["w"], sizes["h"]])
    if ((saved["template_size"] < 0) | (saved["template_size"] > limit)).any():
        return "expected templates within their images, found larger ones"
    # A lost track may hold what a fit in a damaged frame left
    for name in ("params_global", "params_local", "landmarks", "appearance"):
        if not saved[name][success].isfinite().all():
            return f"expected finite {name} of faces that were found, found others"
    if not all(saved[f"smoothed_{name}"].isfinite().all() for name in ("values", "speed", "trend")):
        return "expected finite smoothed numbers, found others"
    return None
