"""What a tracker knows between two frames: a record of plain tensors that can be saved, split and joined."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from clnf_torch.geometry.records import join_rows, take_rows
from clnf_torch.models.pdm import PDM, ShapeParams
from clnf_torch.tracking.appearance import PIXELS
from clnf_torch.tracking.template import Templates

FORMAT, VERSION = "clnf_torch track state", 2
# OpenFace ``failures_in_a_row``: begins here, so that the first failure makes it 0
NO_FAILURE = -1


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """R faces that are followed, each in one of V videos."""

    video: Tensor  # (R,) int64
    identity: Tensor  # (R,) int64, never used for another face of the video
    age: Tensor  # (R,) int64: frames since the face was first seen
    seen: Tensor  # (R,) int64: frames in which the face was found, of many faces per video
    params: ShapeParams  # where the next fit starts
    landmarks: Tensor  # (R, N, 2) pixels
    looks: Tensor  # (R, 256) what the face looks like on average, 0 where that is not known
    confidence: Tensor  # (R,) of the last validation
    initialised: Tensor  # (R,) bool: there is a face to be followed. OpenFace ``tracking_initialised``
    success: Tensor  # (R,) bool: the last fit succeeded. OpenFace ``detection_success``
    failures: Tensor  # (R,) int64: failing frames in a row, -1 for none

    def __len__(self) -> int:
        """Number of faces R."""
        return self.video.shape[0]

    @classmethod
    def unseen(cls, pdm: PDM, video: Tensor, identity: Tensor) -> "Tracks":
        """Faces that nobody has seen yet. OpenFace ``CLNF::Reset``."""
        rows, like = len(video), pdm.mean
        params = ShapeParams(
            like.new_ones(rows), like.new_zeros(rows, 3), like.new_zeros(rows, 2), like.new_zeros(rows, pdm.num_modes)
        )
        never = torch.zeros(rows, dtype=torch.bool, device=like.device)
        return cls(
            video=video,
            identity=identity,
            age=torch.zeros_like(video),
            seen=torch.zeros_like(video),
            params=params,
            landmarks=like.new_zeros(rows, pdm.num_landmarks, 2),
            looks=like.new_zeros(rows, PIXELS),
            confidence=like.new_zeros(rows),
            initialised=never,
            success=never,
            failures=torch.full_like(video, NO_FAILURE),
        )


@dataclass(frozen=True, kw_only=True)
class TrackState:
    """V videos and the faces that are followed in them. In single-face mode there is one row per video, in order."""

    frame: Tensor  # (V,) int64: frames seen so far
    next_identity: Tensor  # (V,) int64
    preferred: Tensor  # (V, 2) where the face to be detected next is expected, in widths and heights; NaN: anywhere
    tracks: Tracks
    templates: Templates  # of the R faces

    def __post_init__(self) -> None:
        """Refuses parts that do not belong together."""
        if len(self.templates) != len(self.tracks) or self.preferred.shape != (self.videos, 2):
            raise ValueError(
                f"{len(self.tracks)} tracks, {len(self.templates)} templates and {tuple(self.preferred.shape)} "
                f"preferred places do not make a state of {self.videos} videos"
            )

    @property
    def videos(self) -> int:
        """Number of videos V."""
        return self.frame.shape[0]

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
            tracks=replace(tracks, video=place[tracks.video]),
            templates=take_rows(self.templates, rows),
        )

    def join(self, other: "TrackState") -> "TrackState":
        """The videos of two states side by side, this one's first."""
        moved = replace(other.tracks, video=other.tracks.video + self.videos)
        return TrackState(
            frame=torch.cat((self.frame, other.frame)),
            next_identity=torch.cat((self.next_identity, other.next_identity)),
            preferred=torch.cat((self.preferred, other.preferred)),
            tracks=join_rows(self.tracks, moved),
            templates=Templates.join(self.templates, other.templates),
        )

    def to(self, device: torch.device | str) -> "TrackState":
        """The same state on another device."""
        return self.from_dict({key: v.to(device) if isinstance(v, Tensor) else v for key, v in self.to_dict().items()})

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
            **tracks,
            "params_global": params.globals,
            "params_local": params.local,
            "template_pixels": self.templates.pixels,
            "template_size": self.templates.size,
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "TrackState":
        """The state from `to_dict`.

        Raises:
            ValueError: It is something else, of another version, or incomplete.
        """
        if saved.get("format") != FORMAT or saved.get("version") != VERSION:
            found = f"{saved.get('format')!r} of version {saved.get('version')!r}"
            raise ValueError(f"expected a {FORMAT!r} of version {VERSION}, found {found}")
        try:
            params = ShapeParams.from_globals(saved["params_global"], saved["params_local"])
            names = [field.name for field in fields(Tracks) if field.name != "params"]
            return cls(
                frame=saved["frame"],
                next_identity=saved["next_identity"],
                preferred=saved["preferred"],
                tracks=Tracks(params=params, **{name: saved[name] for name in names}),
                templates=Templates(saved["template_pixels"], saved["template_size"]),
            )
        except KeyError as error:
            raise ValueError(f"the saved state lacks {error}; save it again with to_dict") from None
