"""Many faces per video: each keeps its identity, is known again by place and looks, and gives way to no copy of it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from clnf_torch.detection.face_detector import FaceBoxes
from clnf_torch.geometry.records import join_rows, put_rows, take_rows
from clnf_torch.models.pdm import PDM
from clnf_torch.pipeline.result import FitResult
from clnf_torch.tracking.appearance import known, normalised_cross_correlation, remembered
from clnf_torch.tracking.association import (
    associate,
    box_around_landmarks,
    distances,
    leaders,
    overlap_scores,
    recognition_scores,
)
from clnf_torch.tracking.config import VideoConfig
from clnf_torch.tracking.frame_fitter import FrameBatch, FrameFitter
from clnf_torch.tracking.result import VideoResult
from clnf_torch.tracking.state import NO_FAILURE, Tracks, TrackState
from clnf_torch.tracking.template import Templates

# More than any identity: ranks of faces that come after all others
BEHIND = 1 << 60

# Failing frames in a row until a face that was never confirmed rests
DOUBTED = 2


@dataclass(frozen=True, kw_only=True)
class Found:
    """K faces that are not those of followed tracks."""

    fits: FitResult
    video: Tensor  # (K,) int64
    looks: Tensor  # (K, 256)


@dataclass(frozen=True, kw_only=True)
class Faces:
    """The faces of this frame while they are being sorted out."""

    tracks: Tracks  # R rows; parameters and landmarks say where each was last found
    fits: FitResult  # R rows: the fits of this frame
    looks: Tensor  # (R, 256) what the fits show
    detected: Tensor  # (R,) bool: fitted in a detected box


def step_multi_face(follower: FrameFitter, state: TrackState, scene: FrameBatch) -> tuple[TrackState, VideoResult]:
    """One frame of every video.

    Faces are followed; of those that have come to follow one face all but one are lost. Every few frames, and where a
    face was just lost, the whole frame is searched. Found faces that nobody follows are lost ones, by place and looks,
    or new ones. A fit in a found box counts only where it succeeds. Unlike OpenFace's tracker of one face, a lost face
    is looked for where it was last found, not where the failed fit went; it is remembered for longer than that.

    Args:
        follower: Detectors and settings.
        state: Any number of tracks per video.
        scene: The frames.

    Returns:
        The next state, and one row per face that is followed, was lost not long ago, or is new.
    """
    faces = _followed(follower, state, scene)
    boxes = follower.find(scene, search_due(follower.config, state, faces.tracks))
    boxes = _unfollowed(follower.config, faces.tracks, boxes)
    identities = state.next_identity
    if len(boxes.frame):
        found = _fitted(follower, scene, faces.tracks, boxes)
        partner = _recognised(follower.config, faces.tracks, found)
        faces = _taken_up(faces, found, partner)
        faces, identities = _new_tracks(follower.detector.model.pdm, faces, found, partner, identities)
    return _finished(follower, replace(state, next_identity=identities), scene, faces)


def search_due(config: VideoConfig, state: TrackState, tracks: Tracks) -> Tensor:
    """Videos (V,) whose whole frame is searched: every few frames, and where a face was just lost."""
    just_lost = ~tracks.success & (tracks.failures == NO_FAILURE + 1)
    losses = torch.zeros_like(state.frame).index_add(0, tracks.video, just_lost.long())
    return (state.frame % config.detect_every == 0) | (losses > 0)


def _followed(follower: FrameFitter, state: TrackState, scene: FrameBatch) -> Faces:
    """Every face where it is now, or where it was last found; a lost one must look as it did.

    Of faces that overlap too much, one that was followed without a break leads, and among those the oldest.
    """
    before, fits = state.tracks, follower.follow(state, scene)
    looks = follower.looks(scene, fits.landmarks, before.video)
    alike = normalised_cross_correlation(before.looks, looks).diagonal() >= follower.config.alike_here
    ok = fits.success & (before.success | alike | ~known(before.looks))
    rank = before.identity + torch.where(before.success, 0, BEHIND)
    # Failed fits see nobody
    alone = -1 - torch.arange(len(before), device=rank.device)
    leading = leaders(
        box_around_landmarks(fits.landmarks), rank, torch.where(ok, before.video, alone), follower.config.merge_above
    )
    tracks = _updated(before, fits, ok & leading)
    return Faces(tracks=tracks, fits=fits, looks=looks, detected=torch.zeros_like(tracks.success))


def _updated(before: Tracks, fits: FitResult, ok: Tensor) -> Tracks:
    """Tracks after fits of which some (R,) succeeded."""
    return replace(
        before,
        params=fits.params.where(ok, before.params),
        landmarks=torch.where(ok[:, None, None], fits.landmarks, before.landmarks),
        confidence=fits.confidence,
        initialised=before.initialised | ok,
        seen=before.seen + ok,
        success=ok,
        failures=torch.where(ok, NO_FAILURE, before.failures + 1),
    )


def _unfollowed(config: VideoConfig, tracks: Tracks, found: FaceBoxes) -> FaceBoxes:
    """Found boxes that are not those of followed faces."""
    boxes, followed = box_around_landmarks(tracks.landmarks), tracks.success[:, None]
    together = followed & (tracks.video[:, None] == found.frame)
    partner = associate(overlap_scores(boxes, found.boxes.to(boxes), together, config.same_face))
    return take_rows(found, partner < 0)


def _fitted(follower: FrameFitter, scene: FrameBatch, tracks: Tracks, boxes: FaceBoxes) -> Found:
    """The fits in found boxes that succeeded on a face that nobody else follows."""
    fits, video, count = follower.fit(scene, boxes.boxes, boxes.frame), boxes.frame, len(boxes.frame)
    rank = torch.cat((tracks.identity, BEHIND + torch.arange(count, device=video.device)))
    group = torch.cat((torch.where(tracks.success, tracks.video, -1), torch.where(fits.success, video, -1)))
    places = torch.cat((box_around_landmarks(tracks.landmarks), box_around_landmarks(fits.landmarks)))
    leading = leaders(places, rank, group, follower.config.merge_above)
    rows = (fits.success & leading[-count:]).nonzero().squeeze(1)
    fits, video = fits[rows], video[rows]
    return Found(fits=fits, video=video, looks=follower.looks(scene, fits.landmarks, video))


def _recognised(config: VideoConfig, tracks: Tracks, found: Found) -> Tensor:
    """The lost face that each found one is, -1 for a new one, int64, shape (K,)."""
    together = ~tracks.success[:, None] & (tracks.video[:, None] == found.video)
    away = distances(box_around_landmarks(tracks.landmarks), box_around_landmarks(found.fits.landmarks)) / config.reach
    away = away + (tracks.failures - NO_FAILURE)[:, None] / config.forget_after
    alike = normalised_cross_correlation(tracks.looks, found.looks)
    return associate(recognition_scores(alike, away, together, config.alike_far))


def _taken_up(faces: Faces, found: Found, partner: Tensor) -> Faces:
    """Lost faces that were found again: those (K,) that have a partner."""
    again = (partner >= 0).nonzero().squeeze(1)
    rows, found = partner[again], take_rows(found, again)
    updated = _updated(take_rows(faces.tracks, rows), found.fits, found.fits.success)
    return Faces(
        tracks=put_rows(faces.tracks, rows, updated),
        fits=put_rows(faces.fits, rows, found.fits),
        looks=faces.looks.index_copy(0, rows, found.looks),
        detected=faces.detected.index_fill(0, rows, True),
    )


def _new_tracks(pdm: PDM, faces: Faces, found: Found, partner: Tensor, identities: Tensor) -> tuple[Faces, Tensor]:
    """New faces: those (K,) without a partner; and the next identity of each video (V,)."""
    found = take_rows(found, partner < 0)
    fits, video = found.fits, found.video
    # Among the new faces of its video
    order = (video[:, None] == video).tril(-1).sum(1)
    tracks = _updated(Tracks.unseen(pdm, video, identities[video] + order), fits, fits.success)
    joined = Faces(
        tracks=join_rows(faces.tracks, tracks),
        fits=join_rows(faces.fits, fits),
        looks=torch.cat((faces.looks, found.looks)),
        detected=torch.cat((faces.detected, fits.success)),
    )
    return joined, identities.index_add(0, video, torch.ones_like(video))


def _finished(
    follower: FrameFitter, state: TrackState, scene: FrameBatch, faces: Faces
) -> tuple[TrackState, VideoResult]:
    """The next state and the result, both by video and identity.

    A face that was lost long ago, or soon after it was first seen, rests: it has no row and is not looked for. It is in
    the state until it is forgotten.
    """
    tracks, config = faces.tracks, follower.config
    confirmed, lost_for = tracks.seen >= config.confirm_after, tracks.failures - NO_FAILURE
    order = tracks.identity.sort(stable=True).indices
    order = order[tracks.video[order].sort(stable=True).indices]
    result = VideoResult(
        faces=replace(faces.fits, success=tracks.success),
        video=tracks.video,
        frame=state.frame[tracks.video],
        identity=tracks.identity,
        age=tracks.age,
        success=tracks.success,
        detected=faces.detected,
        confirmed=confirmed,
    )
    looks = torch.where(tracks.success[:, None], remembered(tracks.looks, faces.looks), tracks.looks)
    blank = Templates.none(len(tracks) - len(state.templates), tracks.video.device)
    templates = follower.remember(Templates.join(state.templates, blank), scene, tracks, tracks.success)
    awake = tracks.initialised & (lost_for < torch.where(confirmed, config.look_for, DOUBTED))
    shown = order[tracks.initialised[order]]
    tracks = replace(tracks, age=tracks.age + 1, looks=looks, initialised=awake)
    kept = order[lost_for[order] < config.forget_after]
    state = replace(state, frame=state.frame + 1, tracks=take_rows(tracks, kept), templates=take_rows(templates, kept))
    return state, take_rows(result, shown)
