"""Multi-face tracking: association by IoU, re-identification by place and appearance, suppression of duplicates."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from clnf_torch.detection.face_detector import FaceBoxes
from clnf_torch.geometry.boxes import box_around
from clnf_torch.geometry.host import is_readable
from clnf_torch.geometry.records import copy_in_order, join_rows, rows_where, take_in_order, take_rows, where_rows
from clnf_torch.models.pdm import PDM
from clnf_torch.pipeline.result import FitResult
from clnf_torch.tracking.appearance import is_known, moving_average, normalised_cross_correlation
from clnf_torch.tracking.association import (
    associate,
    center_distances,
    iou_scores,
    reidentification_scores,
    suppress_duplicates,
)
from clnf_torch.tracking.config import VideoConfig
from clnf_torch.tracking.frame_fitter import FrameBatch, FrameFitter
from clnf_torch.tracking.result import VideoResult
from clnf_torch.tracking.saved_state import NONE_MISSED
from clnf_torch.tracking.state import Tracks, TrackState, new_identities
from clnf_torch.tracking.template import Templates

# More than any identity: ranks of faces that come after all others
LAST = 1 << 59
# Missed frames in a row after which a tentative track is no longer fitted
TENTATIVE_MISSES = 2


@dataclass(frozen=True, kw_only=True)
class Detections:
    """K fitted detections that no track accounts for yet."""

    fits: FitResult
    video: Tensor  # (K,) int64
    appearance: Tensor  # (K, 256) descriptors
    valid: Tensor  # (K,) bool: the fit succeeded, and shows no face twice


@dataclass(frozen=True, kw_only=True)
class CurrentTracks:
    """The R tracks of this frame while detections are associated with them."""

    tracks: Tracks  # parameters and landmarks are those of the last frame in which the face was found
    fits: FitResult  # of this frame
    appearance: Tensor  # (R, 256) descriptors of the fits
    detected: Tensor  # (R,) bool: fitted in a detected box
    exists: Tensor  # (R,) bool: the row is a track, not only the place of one that might have been


class Counts(NamedTuple):
    """What the host has to know of a frame, read at once."""

    searched: int  # videos in whose whole frame faces are detected
    shown: int  # rows of the result
    kept: int  # tracks of the next state
    found: int  # of these, those that the next frame fits as found ones
    lost: int  # and as lost ones


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What becomes of the R tracks, if these are what is left at the end of the frame."""

    confirmed: Tensor  # (R,) bool
    fitted: Tensor  # (R,) bool: in the next frame
    shown: Tensor  # (R,) bool: rows of the result
    kept: Tensor  # (R,) bool: rows of the next state
    counts: Counts


def step_multi_face(fitter: FrameFitter, state: TrackState, batch: FrameBatch) -> tuple[TrackState, VideoResult]:
    """One frame of every video.

    Tracks are fitted from where they were; duplicates are suppressed. Every few frames, and where a track was just
    lost, faces are detected in the whole frame. Behind a cut place says nothing: a track goes on only with a face that
    looks like its own. Detections that no track accounts for are re-identified as lost tracks, by place and appearance,
    or begin new ones. A fit in a detected box counts only where it succeeds. Unlike OpenFace's tracker of one face, a
    lost face is fitted where it was last found, not where the failed fit went; its identity is kept for longer than
    that.

    Args:
        fitter: Detectors and settings.
        state: Any number of tracks per video.
        batch: The frames.

    Returns:
        The next state, and one row per face that is tracked, was lost not long ago, or is new.
    """
    config, identities = fitter.config, state.next_identity
    scene, cut = fitter.scenes(batch, state.scene)
    current = _fit_tracks(fitter, state, batch, cut)
    due = detection_due(config, state, current.tracks)
    searched = due & ~batch.damaged
    outcome = _outcome(config, searched, current)
    if fitter.face_detector is not None and outcome.counts.searched:
        boxes = _unmatched(config, current.tracks, fitter.detect(batch, searched, outcome.counts.searched))
        if len(boxes.image_index):
            detections = _fit_detections(fitter, batch, current.tracks, boxes)
            match = _reidentify(config, current.tracks, detections, cut)
            current = _resume_tracks(current, detections, match)
            new = _valid_rows(replace(detections, valid=detections.valid & (match < 0)))
            current = join_rows(current, _new_tracks(fitter.detector.model.pdm, new, identities))
            identities = identities.index_add(0, new.video, new.valid.long())
            outcome = _outcome(config, searched, current)
    state = replace(state, next_identity=identities, unsearched=due & batch.damaged, scene=scene)
    return _finish(fitter, state, batch, current, outcome, cut)


def detection_due(config: VideoConfig, state: TrackState, tracks: Tracks) -> Tensor:
    """Videos (V,) in whose whole frame faces are detected: every few frames, and where a track was just lost.

    A damaged frame puts that off to the next one: a video that begins with one would be without faces for many more.
    """
    just_lost = ~tracks.success & (tracks.missed_frames == NONE_MISSED + 1)
    losses = torch.zeros_like(state.frame).index_add(0, tracks.video, just_lost.long())
    return (state.frame % config.detect_every == 0) | (losses > 0) | state.unsearched


def _fit_tracks(fitter: FrameFitter, state: TrackState, batch: FrameBatch, cut: Tensor) -> CurrentTracks:
    """All tracks after their fits in this frame.

    A lost one is resumed, and one behind a cut (V,) goes on, only where the face looks as it did.
    """
    before, fits = state.tracks, fitter.fit_tracks(state, batch)
    appearance = fitter.appearance(batch, fits.landmarks, before.video)
    similarity = normalised_cross_correlation(before.appearance, appearance).diagonal()
    similarity = torch.where(is_known(before.appearance), similarity, 1)
    found = fits.success & (before.success | (similarity >= fitter.config.resume_similarity))
    found = found & (~cut[before.video] | (similarity >= fitter.config.cut_similarity))
    if len(before) > 1:
        found = found & _best_of_duplicates(fitter.config, before, fits, found, similarity)
    tracks = _update(before, fits, found)
    detected, exists = torch.zeros_like(tracks.success), torch.ones_like(tracks.success)
    return CurrentTracks(tracks=tracks, fits=fits, appearance=appearance, detected=detected, exists=exists)


def _best_of_duplicates(
    config: VideoConfig, before: Tracks, fits: FitResult, found: Tensor, similarity: Tensor
) -> Tensor:
    """Tracks (R,) but duplicates: one that was found in every frame and looks as it did is kept, then the oldest.

    Where a face passes behind another, its track may go over to the one in front, whose own track is the better then.
    A tentative track knows too little of its face to prevail over a confirmed one.
    """
    other = (similarity < config.reidentify_similarity) | (before.hits < config.confirm_after)
    rank = before.identity + LAST * (2 * ~before.success + other)
    # Failed fits suppress nobody
    alone = -1 - torch.arange(len(before), device=rank.device)
    group = torch.where(found, before.video, alone)
    return suppress_duplicates(box_around(fits.landmarks), rank, group, config.duplicate_iou)


def _update(before: Tracks, fits: FitResult, found: Tensor) -> Tracks:
    """Tracks after fits of which some (R,) found the face."""
    new, old = ({"params": each.params, "landmarks": each.landmarks} for each in (fits, before))
    kept: dict[str, Any] = where_rows(found, new, old)
    return replace(
        before,
        **kept,
        confidence=fits.confidence,
        initialised=before.initialised | found,
        hits=before.hits + found,
        success=found,
        missed_frames=torch.where(found, NONE_MISSED, before.missed_frames + 1),
    )


def _unmatched(config: VideoConfig, tracks: Tracks, detected: FaceBoxes) -> FaceBoxes:
    """Usable detected boxes that match no track found in this frame; how many is read."""
    boxes, found = box_around(tracks.landmarks), tracks.success[:, None]
    allowed = found & (tracks.video[:, None] == detected.image_index)
    match = associate(iou_scores(boxes, detected.boxes.to(boxes), allowed, config.match_iou))
    unmatched = (match < 0) & detected.boxes.isfinite().all(-1).to(match.device)
    return take_rows(detected, rows_where(unmatched, int(unmatched.sum())))


def _fit_detections(fitter: FrameFitter, batch: FrameBatch, tracks: Tracks, boxes: FaceBoxes) -> Detections:
    """The fits in detected boxes; valid are those that succeeded and are no duplicates of tracks or of each other."""
    video, count = boxes.image_index, len(boxes.image_index)
    fits = fitter.fit_boxes(batch, boxes.boxes, video)
    rank = torch.cat((tracks.identity, LAST + torch.arange(count, device=video.device)))
    group = torch.cat((torch.where(tracks.success, tracks.video, -1), torch.where(fits.success, video, -1)))
    places = torch.cat((box_around(tracks.landmarks), box_around(fits.landmarks)))
    kept = suppress_duplicates(places, rank, group, fitter.config.duplicate_iou)
    valid = fits.success & kept[-count:]
    if is_readable(valid):
        fits, video, valid = take_rows(fits, valid), video[valid], valid[valid]
    appearance = fitter.appearance(batch, fits.landmarks, video)
    return Detections(fits=fits, video=video, appearance=appearance, valid=valid)


def _valid_rows(detections: Detections) -> Detections:
    """The valid ones; all of them, where the host would have to wait for their number."""
    return take_rows(detections, detections.valid) if is_readable(detections.valid) else detections


def _reidentify(config: VideoConfig, tracks: Tracks, detections: Detections, cut: Tensor) -> Tensor:
    """The lost track that each detection belongs to, -1 for a new one, int64, shape (K,).

    Behind a cut (V,) appearance alone decides.
    """
    allowed = ~tracks.success[:, None] & (tracks.video[:, None] == detections.video) & detections.valid
    distance = center_distances(box_around(tracks.landmarks), box_around(detections.fits.landmarks))
    distance = distance / config.reidentify_distance
    distance = distance + (tracks.missed_frames - NONE_MISSED)[:, None] / config.delete_after
    distance = torch.where(cut[detections.video], 1, distance)
    similarity = normalised_cross_correlation(tracks.appearance, detections.appearance)
    return associate(reidentification_scores(similarity, distance, allowed, config.reidentify_similarity))


def _resume_tracks(current: CurrentTracks, detections: Detections, match: Tensor) -> CurrentTracks:
    """Lost tracks that detections (K,) were matched with continue from there."""
    if not len(match):
        return current
    # The detection of each track; those of no track write to one more row
    tracks, number = len(current.tracks), torch.arange(len(match), device=match.device)
    own = match.new_full((tracks + 1,), -1).index_copy(0, torch.where(match >= 0, match, tracks), number)[:tracks]
    resumed = _from_detections(current.tracks, take_rows(detections, own.clamp_min(0)))
    return where_rows(own < 0, current, resumed)


def _new_tracks(pdm: PDM, detections: Detections, identities: Tensor) -> CurrentTracks:
    """New tracks of detections, with identities from the next free ones of their videos (V,)."""
    video = detections.video
    identity = new_identities(video, identities, detections.valid)
    return _from_detections(Tracks.uninitialised(pdm, video, identity), detections)


def _from_detections(tracks: Tracks, detections: Detections) -> CurrentTracks:
    """Tracks whose faces were detected: one of each detection."""
    fits = detections.fits
    tracks = _update(tracks, fits, fits.success)
    return CurrentTracks(
        tracks=tracks, fits=fits, appearance=detections.appearance, detected=fits.success, exists=detections.valid
    )


def _finish(
    fitter: FrameFitter, state: TrackState, batch: FrameBatch, current: CurrentTracks, outcome: Outcome, cut: Tensor
) -> tuple[TrackState, VideoResult]:
    """The next state and the result, both by video and identity."""
    tracks, templates, smoothed, counts = current.tracks, state.templates, state.smoothed, outcome.counts
    if new := len(tracks) - len(state.tracks):
        templates = templates.join(Templates.none(new, tracks.video.device))
        smoothed = join_rows(smoothed, fitter.nothing_smoothed(new))
    templates = fitter.update_templates(templates, batch, tracks, tracks.success)
    anew = current.detected | cut[tracks.video]
    smoothed, fits = fitter.smooth(smoothed, current.fits, tracks.success, anew)
    order = tracks.identity.sort(stable=True).indices
    order = order[tracks.video[order].sort(stable=True).indices]
    # A copy, which callers may change
    shown = _chosen(order, outcome.shown, counts.shown)
    result = copy_in_order(_result(state, replace(current, fits=fits), outcome.confirmed), shown)
    aged = {"tracks": _age(current, outcome), "templates": templates, "smoothed": smoothed}
    following: dict[str, Any] = take_in_order(aged, _chosen(order, outcome.kept, counts.kept))
    state = replace(state, frame=state.frame + 1, **following)
    return state.with_fits_due(counts.found, counts.lost), result


def _chosen(order: Tensor, mask: Tensor, count: int) -> Tensor:
    """The rows in an order (R,) where a mask (R,) is true, of which the host knows how many there are."""
    return order if count == len(order) else order[rows_where(mask[order], count)]


def _outcome(config: VideoConfig, searched: Tensor, current: CurrentTracks) -> Outcome:
    """What becomes of the tracks, and in how many videos (V,) faces are detected.

    A track that missed too many frames is no longer initialised: it has no row in results and is not fitted, but stays
    in the state, to be re-identified, until it is deleted. A tentative one gets there after a few missed frames.
    """
    tracks, exists = current.tracks, current.exists
    missed, confirmed = tracks.missed_frames - NONE_MISSED, tracks.hits >= config.confirm_after
    max_missed = torch.where(confirmed, config.max_missed_frames, TENTATIVE_MISSES)
    fitted = tracks.initialised & (missed < max_missed)
    shown, kept = tracks.initialised & exists, exists & (missed < config.delete_after)
    due = kept & fitted
    masks = searched, shown, kept, due & tracks.success, due & ~tracks.success
    counts = Counts(*torch.stack([mask.sum() for mask in masks]).tolist())
    return Outcome(confirmed=confirmed, fitted=fitted, shown=shown, kept=kept, counts=counts)


def _result(state: TrackState, current: CurrentTracks, confirmed: Tensor) -> VideoResult:
    """The result of all tracks."""
    tracks = current.tracks
    return VideoResult(
        faces=replace(current.fits, success=tracks.success),
        video=tracks.video,
        frame=state.frame[tracks.video],
        identity=tracks.identity,
        age=tracks.age,
        success=tracks.success,
        detected=current.detected,
        confirmed=confirmed,
    )


def _age(current: CurrentTracks, outcome: Outcome) -> Tracks:
    """The tracks before the next frame."""
    tracks = current.tracks
    average = moving_average(tracks.appearance, current.appearance)
    return replace(
        tracks,
        age=tracks.age + 1,
        appearance=torch.where(tracks.success[:, None], average, tracks.appearance),
        initialised=outcome.fitted,
    )
