"""Single-face tracking: one face per video, by the rules of OpenFace's tracker."""

from dataclasses import replace

import torch
from torch import Tensor

from clnf_torch.detection.face_detector import FaceBoxes, nearest, widest
from clnf_torch.geometry.records import put_rows, rows_where, where_rows
from clnf_torch.pipeline.result import FitResult
from clnf_torch.tracking.config import VideoConfig
from clnf_torch.tracking.frame_fitter import FrameBatch, FrameFitter
from clnf_torch.tracking.result import VideoResult
from clnf_torch.tracking.saved_state import NONE_MISSED
from clnf_torch.tracking.state import Tracks, TrackState

# Missed frames in a row until the track is given up
MAX_MISSED_FRAMES = 100
# Fields of the failed fit that are restored after a rejected detection
RESTORED = ("params", "landmarks", "likelihood", "landmark_likelihoods", "landmark_errors")


def step_single_face(fitter: FrameFitter, state: TrackState, batch: FrameBatch) -> tuple[TrackState, VideoResult]:
    """One frame of every video.

    Args:
        fitter: Detectors and settings.
        state: One track per video, in the order of the videos.
        batch: The frames.

    Returns:
        The next state, and one row per video.

    Source:
        OpenFace ``DetectLandmarksInVideo``.
    """
    before, faces = state.tracks, fitter.fit_tracks(state, batch)
    tracks = _after_fit(before, faces)
    # OpenFace knows no damaged frames; these put a detection off to the next one
    due = detection_due(fitter.config, tracks) | (state.unsearched & ~tracks.success)
    none, searched = torch.zeros_like(due), due & ~batch.damaged
    undetected = _after_detection(tracks, faces, none, none, none)
    # All that the host has to know, unless a face is found
    count, *next_fits = torch.stack((searched, *undetected.fits_due())).sum(1).tolist()
    tracked, found, accepted = tracks.success, none, none
    if fitter.face_detector is not None and count:
        detected = _detect_one(fitter, state, batch, searched, count)
        found = detected.boxes[:, 2] > 0
        faces, accepted, own_success = _fit_detected(fitter, batch, faces, detected, first=~before.initialised)
        tracks = _after_detection(tracks, faces, found, accepted, own_success)
    else:
        tracks = undetected
    age = torch.where(before.initialised, before.age, 0)
    success = torch.where(found, accepted, tracks.success)
    smoothed, faces = fitter.smooth(state.smoothed, faces, success, found)
    result = VideoResult(
        faces=replace(faces, success=tracks.success),
        video=before.video,
        frame=state.frame,
        identity=before.identity,
        age=age,
        success=success,
        detected=accepted,
        confirmed=torch.ones_like(accepted),
    )
    state = replace(
        state,
        frame=state.frame + 1,
        preferred=torch.where(searched[:, None], torch.nan, state.preferred),
        unsearched=due & batch.damaged,
        tracks=replace(tracks, age=age + 1),
        templates=fitter.update_templates(state.templates, batch, tracks, tracked | accepted),
        smoothed=smoothed,
    )
    return (state if tracks is not undetected else state.with_fits_due(*next_fits)), result


def detection_due(config: VideoConfig, tracks: Tracks) -> Tensor:
    """Videos (V,) in whose whole frame the face is detected, after the frame's own fit.

    OpenFace: every 12th frame while there is no face; and in the frame of a failure, then at every second failure.
    """
    period = config.redetect_every
    never_found = ~tracks.initialised & ((tracks.missed_frames + 1) % (6 * period) == 0)
    if period < 0:
        return never_found
    return never_found | (tracks.initialised & ~tracks.success & (tracks.missed_frames % period == 0))


def _after_fit(before: Tracks, faces: FitResult) -> Tracks:
    """The tracks after the fits of initialised ones."""
    success = before.initialised & faces.success
    missed_frames = torch.where(success, NONE_MISSED, before.missed_frames + 1)
    return replace(
        before,
        params=faces.params,
        landmarks=faces.landmarks,
        confidence=faces.confidence,
        success=success,
        missed_frames=torch.where(before.initialised, missed_frames, before.missed_frames),
    )


def _detect_one(fitter: FrameFitter, state: TrackState, batch: FrameBatch, searched: Tensor, count: int) -> FaceBoxes:
    """The face of each video nearest to the preferred place, or the widest; without area where there is none.

    OpenFace: the preferred place is cut off to whole pixels.
    """
    faces = fitter.detect(batch, searched, count)
    wanted = state.preferred.isfinite().all(-1)
    place = (torch.where(wanted[:, None], state.preferred, 0) * batch.size).trunc()
    return where_rows(wanted, nearest(faces, place), widest(faces, state.videos))


def _fit_detected(
    fitter: FrameFitter, batch: FrameBatch, faces: FitResult, detected: FaceBoxes, first: Tensor
) -> tuple[FitResult, Tensor, Tensor]:
    """Fit the detected faces; the results of all videos, which (V,) accept their face, and the fits' own success (V,).

    OpenFace: a first face is accepted whatever the validator says. Where another one is not, pose, shape, landmarks and
    likelihoods of the failed fit are restored; view, confidence, success and parts stay those of the rejected one.
    """
    found = detected.boxes[:, 2] > 0
    count = int(found.sum())
    if not count:
        return faces, found, found
    rows = rows_where(found, count)
    fits, success = fitter.fit_with_own_success(batch, detected.boxes[rows], rows)
    fitted = put_rows(faces, rows, fits)
    accepted = found & (first | fitted.success)
    restored = {name: where_rows(accepted, getattr(fitted, name), getattr(faces, name)) for name in RESTORED}
    return replace(fitted, **restored), accepted, found.index_copy(0, rows, success)


def _after_detection(tracks: Tracks, faces: FitResult, found: Tensor, accepted: Tensor, own_success: Tensor) -> Tracks:
    """The tracks at the end of a frame.

    OpenFace: where a face was found the function ends early; elsewhere a track is given up after too many failures,
    which goes on counting.
    """
    missed_frames = torch.where(accepted, NONE_MISSED, tracks.missed_frames)
    missed_frames = torch.where(found | tracks.initialised, missed_frames, missed_frames + 1)
    return replace(
        tracks,
        params=faces.params,
        landmarks=faces.landmarks,
        confidence=faces.confidence,
        success=torch.where(found, own_success, tracks.success),
        initialised=found | (tracks.initialised & (missed_frames <= MAX_MISSED_FRAMES)),
        missed_frames=missed_frames,
    )
