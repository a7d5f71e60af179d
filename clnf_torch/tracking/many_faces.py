"""Many faces per video: each keeps its identity, is looked for where it was lost, and gives way to no copy of it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from clnf_torch.detection.faces import FaceBoxes
from clnf_torch.models.pdm import PDM
from clnf_torch.pipeline.result import FitResult
from clnf_torch.tracking.association import associate, distance_scores, landmark_boxes, leaders, overlap_scores
from clnf_torch.tracking.config import VideoConfig
from clnf_torch.tracking.follower import Follower, Scene
from clnf_torch.tracking.result import VideoResult
from clnf_torch.tracking.rows import join_rows, put_rows, take_rows
from clnf_torch.tracking.state import NO_FAILURE, Tracks, TrackState
from clnf_torch.tracking.template import Templates

BEHIND = 1 << 60  # more than any identity: ranks of faces that come after all others


@dataclass(frozen=True, kw_only=True)
class Faces:
    """The faces of this frame while they are being sorted out."""

    tracks: Tracks  # R rows; parameters and landmarks say where each was last found
    fits: FitResult  # R rows: the fits of this frame
    detected: Tensor  # (R,) bool: fitted in a detected box


def step_many_faces(follower: Follower, state: TrackState, scene: Scene) -> tuple[TrackState, VideoResult]:
    """One frame of every video.

    Faces are followed; of those that have come to follow one face all but one are lost. Every few frames, and where a
    face was just lost, the whole frame is searched. Found faces that nobody follows are those that were lost there or
    nearby, or new ones. A fit in a found box counts only where it succeeds. Unlike OpenFace's tracker of one face, a
    lost face is looked for where it was last found, not where the failed fit went.

    Args:
        follower: Detectors and settings.
        state: Any number of tracks per video.
        scene: The frames.

    Returns:
        The next state, and one row per face that is followed, was lost not long ago, or is new.
    """
    faces = _followed(follower, state, scene)
    boxes = follower.find(scene, search_due(follower.config, state, faces.tracks))
    boxes, partner = _unfollowed(follower.config, faces.tracks, boxes)
    identities = state.next_identity
    if len(partner):
        fits = follower.fit(scene, boxes.boxes, boxes.frame)
        rows = _acceptable(follower.config, faces.tracks, fits, boxes.frame, partner).nonzero().squeeze(1)
        fits, video, partner = fits[rows], boxes.frame[rows], partner[rows]
        faces = _taken_up(faces, fits, partner)
        faces, identities = _born(follower.detector.model.pdm, faces, fits, video, partner, identities)
    return _finished(follower, replace(state, next_identity=identities), scene, faces)


def search_due(config: VideoConfig, state: TrackState, tracks: Tracks) -> Tensor:
    """Videos (V,) whose whole frame is searched: every few frames, and where a face was just lost."""
    just_lost = ~tracks.success & (tracks.failures == NO_FAILURE + 1)
    losses = torch.zeros_like(state.frame).index_add(0, tracks.video, just_lost.long())
    return (state.frame % config.detect_every == 0) | (losses > 0)


def _followed(follower: Follower, state: TrackState, scene: Scene) -> Faces:
    """Every face where it is now, or where it was last found.

    Of faces that overlap too much, one that was followed without a break leads, and among those the oldest.
    """
    before, fits = state.tracks, follower.follow(state, scene)
    rank = before.identity + torch.where(before.success, 0, BEHIND)
    alone = -1 - torch.arange(len(before), device=rank.device)  # failed fits see nobody
    group = torch.where(fits.success, before.video, alone)
    leading = leaders(landmark_boxes(fits.landmarks), rank, group, follower.config.merge_above)
    tracks = _updated(before, fits, fits.success & leading)
    return Faces(tracks=tracks, fits=fits, detected=torch.zeros_like(tracks.success))


def _updated(before: Tracks, fits: FitResult, ok: Tensor) -> Tracks:
    """Tracks after fits of which some (R,) succeeded."""
    return replace(
        before,
        params=fits.params.where(ok, before.params),
        landmarks=torch.where(ok[:, None, None], fits.landmarks, before.landmarks),
        certainty=fits.certainty,
        success=ok,
        failures=torch.where(ok, NO_FAILURE, before.failures + 1),
    )


def _unfollowed(config: VideoConfig, tracks: Tracks, found: FaceBoxes) -> tuple[FaceBoxes, Tensor]:
    """Found boxes that are not those of followed faces, and the lost face that each is, -1 for a new one.

    Followed faces are given their boxes first; then lost faces by overlap; then lost faces by distance.
    """
    boxes, together = landmark_boxes(tracks.landmarks), tracks.video[:, None] == found.frame
    found_boxes, ok = found.boxes.to(boxes), tracks.success[:, None]
    partner = associate(
        [
            overlap_scores(boxes, found_boxes, together & ok, config.same_face),
            overlap_scores(boxes, found_boxes, together & ~ok, config.same_face),
            distance_scores(boxes, found_boxes, together & ~ok, config.reach),
        ]
    )
    followed = torch.cat((tracks.success, tracks.success.new_zeros(1)))[partner]  # partner -1 reads the last one
    rows = (~followed).nonzero().squeeze(1)
    return take_rows(found, rows), partner[rows]


def _acceptable(config: VideoConfig, tracks: Tracks, fits: FitResult, video: Tensor, partner: Tensor) -> Tensor:
    """Which fits in found boxes (K,) succeeded on a face that nobody else follows."""
    count = len(partner)
    rank = torch.where(partner >= 0, BEHIND + partner, 2 * BEHIND + torch.arange(count, device=partner.device))
    group = torch.cat((torch.where(tracks.success, tracks.video, -1), torch.where(fits.success, video, -1)))
    boxes = torch.cat((landmark_boxes(tracks.landmarks), landmark_boxes(fits.landmarks)))
    leading = leaders(boxes, torch.cat((tracks.identity, rank)), group, config.merge_above)
    return fits.success & leading[-count:]


def _taken_up(faces: Faces, fits: FitResult, partner: Tensor) -> Faces:
    """Lost faces that were found again: the fits (K,) that have a partner."""
    again = (partner >= 0).nonzero().squeeze(1)
    rows, fits = partner[again], fits[again]
    updated = _updated(take_rows(faces.tracks, rows), fits, fits.success)
    return Faces(
        tracks=put_rows(faces.tracks, rows, updated),
        fits=put_rows(faces.fits, rows, fits),
        detected=faces.detected.index_fill(0, rows, True),
    )


def _born(
    pdm: PDM, faces: Faces, fits: FitResult, video: Tensor, partner: Tensor, identities: Tensor
) -> tuple[Faces, Tensor]:
    """New faces: the fits (K,) without a partner; and the next identity of each video (V,)."""
    new = (partner < 0).nonzero().squeeze(1)
    video, fits = video[new], fits[new]
    order = (video[:, None] == video).tril(-1).sum(1)  # among the new faces of its video
    tracks = Tracks.unseen(pdm, video, identities[video] + order)
    tracks = _updated(replace(tracks, initialised=fits.success), fits, fits.success)
    joined = Faces(
        tracks=join_rows(faces.tracks, tracks),
        fits=join_rows(faces.fits, fits),
        detected=torch.cat((faces.detected, fits.success)),
    )
    return joined, identities.index_add(0, video, torch.ones_like(video))


def _finished(follower: Follower, state: TrackState, scene: Scene, faces: Faces) -> tuple[TrackState, VideoResult]:
    """The next state, without faces that were lost too long ago, and the result; both by video and identity."""
    tracks, device = faces.tracks, faces.tracks.video.device
    blank = Templates.none(len(tracks) - len(state.templates), device)
    templates = follower.remember(Templates.join(state.templates, blank), scene, tracks, tracks.success)
    result = VideoResult(
        faces=replace(faces.fits, success=tracks.success),
        video=tracks.video,
        frame=state.frame[tracks.video],
        identity=tracks.identity,
        age=tracks.age,
        success=tracks.success,
        detected=faces.detected,
    )
    order = tracks.identity.sort(stable=True).indices
    order = order[tracks.video[order].sort(stable=True).indices]
    kept = order[tracks.failures[order] - NO_FAILURE < follower.config.forget_after]
    tracks = take_rows(replace(tracks, age=tracks.age + 1), kept)
    state = replace(state, frame=state.frame + 1, tracks=tracks, templates=take_rows(templates, kept))
    return state, take_rows(result, order)
