"""The state of a tracker between two frames: a record of plain tensors that can be saved, split and joined."""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from clnf_torch.files.reading import BEGINNING, wrong_download
from clnf_torch.files.writing import write_atomically
from clnf_torch.geometry.records import Rows, join_rows, loadable, map_tensors, take_rows
from clnf_torch.models.pdm import PDM, ShapeParams
from clnf_torch.tracking.appearance import PIXELS
from clnf_torch.tracking.saved_state import FORMAT, NONE_MISSED, VERSION, StateError, check_saved_state
from clnf_torch.tracking.smoothing import SmoothedFaces
from clnf_torch.tracking.template import Templates


@dataclass(frozen=True, kw_only=True)
class Tracks(Rows):
    """R tracks, each of one face in one of V videos.

    Attributes:
        video: Index of the video, int64, shape (R,).
        identity: Number of the face in its video, never used for another one, int64, shape (R,).
        age: Frames since the face was first found, int64, shape (R,).
        hits: Frames in which the face was found, with many faces per video, int64, shape (R,).
        params: Pose and shape from which the next fit starts.
        landmarks: Pixels, shape (R, N, 2).
        appearance: Exponential moving average of the face's appearance descriptors, 0 where unknown, shape (R, 256).
        confidence: Of the last validation, shape (R,).
        initialised: Tracks that are fitted in the next frame, bool, shape (R,). OpenFace ``tracking_initialised``.
        success: Tracks whose last fit succeeded, bool, shape (R,); the others are lost. OpenFace ``detection_success``.
        missed_frames: Missed frames in a row minus 1, so -1 for none, int64, shape (R,). OpenFace
            ``failures_in_a_row``.
    """

    video: Tensor
    identity: Tensor
    age: Tensor
    hits: Tensor
    params: ShapeParams
    landmarks: Tensor
    appearance: Tensor
    confidence: Tensor
    initialised: Tensor
    success: Tensor
    missed_frames: Tensor

    @classmethod
    def uninitialised(cls, pdm: PDM, video: Tensor, identity: Tensor) -> "Tracks":
        """Tracks of faces that were not found yet. OpenFace ``CLNF::Reset``."""
        rows, like = len(video), pdm.mean
        params = ShapeParams(
            like.new_ones(rows), like.new_zeros(rows, 3), like.new_zeros(rows, 2), like.new_zeros(rows, pdm.num_modes)
        )
        never = torch.zeros(rows, dtype=torch.bool, device=like.device)
        return cls(
            video=video,
            identity=identity,
            age=torch.zeros_like(video),
            hits=torch.zeros_like(video),
            params=params,
            landmarks=like.new_zeros(rows, pdm.num_landmarks, 2),
            appearance=like.new_zeros(rows, PIXELS),
            confidence=like.new_zeros(rows),
            initialised=never,
            success=never,
            missed_frames=torch.full_like(video, NONE_MISSED),
        )

    def fits_due(self) -> tuple[Tensor, Tensor]:
        """Tracks (R,) that the next frame fits: those found in the last one, and the others."""
        return self.initialised & self.success, self.initialised & ~self.success


def new_identities(video: Tensor, next_identity: Tensor, new: Tensor | None = None) -> Tensor:
    """Identities (K,) of faces in these videos (K,), counted from the next free identity of each video (V,).

    Only those that are new (K,), or all, take one.
    """
    same = video[:, None] == video
    order = (same if new is None else same & new).tril(-1).sum(1)
    return next_identity[video] + order


@loadable
@dataclass(frozen=True, kw_only=True)
class TrackState:
    """What a tracker knows of V videos between two frames. With a single face there is one track per video, in order.

    Attributes:
        frame: Number of frames so far, int64, shape (V,).
        next_identity: The identity of the next new face, int64, shape (V,).
        preferred: Where the face to be detected next is expected, x and y as shares of width and height, shape (V, 2);
            NaN: anywhere.
        unsearched: Videos whose last frame was damaged when faces were to be detected in all of it: they are detected
            in the next one, bool, shape (V,).
        scene: Descriptors of the last whole frames in which something could be seen, 0 before the first one and with a
            single face, shape (V, 256).
        tracks: The R tracks of all videos.
        templates: Their images for template matching.
        smoothed: What the smoothing of results knows of them.

    Raises:
        ValueError: The numbers of rows do not belong together.
    """

    frame: Tensor
    next_identity: Tensor
    preferred: Tensor
    unsearched: Tensor
    scene: Tensor
    tracks: Tracks
    templates: Templates
    smoothed: SmoothedFaces

    def __post_init__(self) -> None:
        """Refuses parts that do not belong together."""
        if {len(self.templates), len(self.smoothed)} != {len(self.tracks)} or self.preferred.shape != (self.videos, 2):
            raise ValueError(
                f"{len(self.tracks)} tracks, {len(self.templates)} templates, {len(self.smoothed)} smoothed faces and "
                f"{tuple(self.preferred.shape)} preferred places do not make a state of {self.videos} videos"
            )

    @property
    def videos(self) -> int:
        """Number of videos V."""
        return self.frame.shape[0]

    @cached_property
    def fits_due(self) -> tuple[int, int]:
        """How many tracks the next frame fits that were found in the last one, and how many that were not.

        Read from the tracks, but in a state that a step has made: it asks together with all else that it has to know.
        """
        found, lost = torch.stack(self.tracks.fits_due()).sum(1).tolist()
        return found, lost

    def with_fits_due(self, found: int, lost: int) -> "TrackState":
        """The same state, whose next step need not ask how many tracks it fits."""
        state = replace(self)
        vars(state)["fits_due"] = found, lost
        return state

    def select(self, videos: Tensor) -> "TrackState":
        """The state of some videos (K,), in this order; for when others have ended.

        Args:
            videos: Numbers of the videos to keep, int64, each at most once.
        """
        place = torch.full_like(self.frame, -1).index_copy(0, videos, torch.arange(len(videos), device=videos.device))
        rows = place[self.tracks.video].sort(stable=True).indices
        rows = rows[place[self.tracks.video[rows]] >= 0]
        tracks = take_rows(self.tracks, rows)
        return TrackState(
            frame=self.frame[videos],
            next_identity=self.next_identity[videos],
            preferred=self.preferred[videos],
            unsearched=self.unsearched[videos],
            scene=self.scene[videos],
            tracks=replace(tracks, video=place[tracks.video]),
            templates=take_rows(self.templates, rows),
            smoothed=take_rows(self.smoothed, rows),
        )

    def join(self, other: "TrackState") -> "TrackState":
        """The videos of two states side by side, this one's first."""
        moved = replace(other.tracks, video=other.tracks.video + self.videos)
        return TrackState(
            frame=torch.cat((self.frame, other.frame)),
            next_identity=torch.cat((self.next_identity, other.next_identity)),
            preferred=torch.cat((self.preferred, other.preferred)),
            unsearched=torch.cat((self.unsearched, other.unsearched)),
            scene=torch.cat((self.scene, other.scene)),
            tracks=join_rows(self.tracks, moved),
            templates=self.templates.join(other.templates),
            smoothed=join_rows(self.smoothed, other.smoothed),
        )

    def to(self, device: torch.device | str) -> "TrackState":
        """The same state on another device."""
        return map_tensors(lambda values: values.to(device), self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values and tensors, for ``torch.save``; ``torch.load(weights_only=True)`` reads them back."""
        tracks = {field.name: getattr(self.tracks, field.name) for field in fields(self.tracks)}
        params = tracks.pop("params")
        return {
            "format": FORMAT,
            "version": VERSION,
            "frame": self.frame,
            "next_identity": self.next_identity,
            "preferred": self.preferred,
            "unsearched": self.unsearched,
            "scene": self.scene,
            **tracks,
            "params_global": params.globals,
            "params_local": params.local,
            "smoothed_values": self.smoothed.values,
            "smoothed_speed": self.smoothed.speed,
            "smoothed_trend": self.smoothed.trend,
            "smoothed_known": self.smoothed.known,
            "template_pixels": self.templates.pixels,
            "template_size": self.templates.size,
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "TrackState":
        """The state from `to_dict`, to the last bit.

        Raises:
            StateError: It is something else, of another version, incomplete, or contradicts itself.
        """
        check_saved_state(saved)
        params = ShapeParams.from_globals(saved["params_global"], saved["params_local"])
        # As a step leaves them: products may be rounded otherwise where numbers lie apart
        params = map_tensors(Tensor.contiguous, params)
        names = [field.name for field in fields(Tracks) if field.name != "params"]
        return cls(
            frame=saved["frame"],
            next_identity=saved["next_identity"],
            preferred=saved["preferred"],
            unsearched=saved["unsearched"],
            scene=saved["scene"],
            tracks=Tracks(params=params, **{name: saved[name] for name in names}),
            templates=Templates(saved["template_pixels"], saved["template_size"]),
            smoothed=SmoothedFaces(*(saved[f"smoothed_{name}"] for name in ("values", "speed", "trend", "known"))),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the state; the file has its name only once it is complete.

        Args:
            path: The file, replaced if it exists.
        """
        with write_atomically(path) as file:
            torch.save(self.to_dict(), file)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: torch.device | str = "cpu") -> "TrackState":
        """The state from `save`: a video goes on from there with the same faces, to the last bit.

        Args:
            path: The file.
            device: Where the tracker computes.

        Raises:
            StateError: The file holds no such state, or a damaged one.
            OSError: It cannot be read.
        """
        # Read at once: to torch.load a file that was cut off is an OSError too
        with open(path, "rb") as file:
            content = io.BytesIO(file.read())
        try:
            saved = torch.load(content, map_location=device, weights_only=True)
        except Exception as error:
            # torch.load names a dozen exceptions, depending on what the file turns out to be
            found = wrong_download(content.getvalue()[:BEGINNING]) or "a damaged or another file"
            raise StateError(f"{path}: expected a saved track state, found {found}") from error
        if not isinstance(saved, dict):
            raise StateError(f"{path}: expected a saved track state, found a {type(saved).__name__}")
        try:
            return cls.from_dict(saved)
        except StateError as error:
            raise StateError(f"{path}: {error}") from None
