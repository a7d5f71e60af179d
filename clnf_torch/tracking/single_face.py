"""One face per video, by the rules of OpenFace's tracker."""

from dataclasses import replace

import torch
from torch import Tensor

from clnf_torch.detection.face_detector import FaceBoxes, nearest, widest
from clnf_torch.geometry.records import put_rows, where_rows
from clnf_torch.pipeline.result import FitResult
from clnf_torch.tracking.config import VideoConfig
from clnf_torch.tracking.frame_fitter import FrameBatch, FrameFitter
from clnf_torch.tracking.result import VideoResult
from clnf_torch.tracking.state import NO_FAILURE, Tracks, TrackState

# Failures in a row
GIVE_UP = 100
# After a rejected detection
RESTORED = ("params", "landmarks", "likelihood", "landmark_likelihoods")


def step_single_face(follower: FrameFitter, state: TrackState, scene: FrameBatch) -> tuple[TrackState, VideoResult]:
    """One frame of every video.

    Args:
        follower: Detectors and settings.
        state: One track per video, in the order of the videos.
        scene: The frames.

    Returns:
        The next state, and one row per video.

    Source:
        OpenFace ``DetectLandmarksInVideo``.
    """
    before = state.tracks
    faces = follower.follow(state, scene)
    ok = before.initialised & faces.success
    tried_in_vain = torch.where(ok, NO_FAILURE, before.failures + 1)
    tracks = replace(
        before,
        params=faces.params,
        landmarks=faces.landmarks,
        confidence=faces.confidence,
        success=ok,
        failures=torch.where(before.initialised, tried_in_vain, before.failures),
    )
    attempt = detection_due(follower.config, tracks)
    face = _one_face(follower, state, scene, attempt)
    found = face.boxes[:, 2] > 0
    faces, accepted = _fit_found(follower, scene, faces, face, found, first=~before.initialised)
    tracks = _after_detection(tracks, faces, found, accepted)
    age = torch.where(before.initialised, before.age, 0)
    state = TrackState(
        frame=state.frame + 1,
        next_identity=state.next_identity,
        preferred=torch.where(attempt[:, None], torch.nan, state.preferred),
        tracks=replace(tracks, age=age + 1),
        templates=follower.remember(state.templates, scene, tracks, ok | accepted),
    )
    result = VideoResult(
        faces=replace(faces, success=tracks.success),
        video=before.video,
        frame=state.frame - 1,
        identity=before.identity,
        age=age,
        success=torch.where(found, accepted, tracks.success),
        detected=accepted,
        confirmed=torch.ones_like(accepted),
    )
    return state, result


def detection_due(config: VideoConfig, tracks: Tracks) -> Tensor:
    """Videos (V,) whose next face is looked for in the whole frame, after the frame's own fit.

    OpenFace: every 12th frame while there is no face; and in the frame of a failure, then at every second failure.
    """
    period = config.redetect_every
    never_seen = ~tracks.initialised & ((tracks.failures + 1) % (6 * period) == 0)
    if period < 0:
        return never_seen
    return never_seen | (tracks.initialised & ~tracks.success & (tracks.failures % period == 0))


def _one_face(follower: FrameFitter, state: TrackState, scene: FrameBatch, attempt: Tensor) -> FaceBoxes:
    """The face of each video that is nearest to the preferred place, or the widest; without area where there is none.

    OpenFace: the preferred place is cut off to whole pixels.
    """
    faces = follower.find(scene, attempt)
    wanted = state.preferred.isfinite().all(-1)
    place = (torch.where(wanted[:, None], state.preferred, 0) * scene.corner).trunc()
    return where_rows(wanted, nearest(faces, place), widest(faces, state.videos))


def _fit_found(
    follower: FrameFitter, scene: FrameBatch, faces: FitResult, face: FaceBoxes, found: Tensor, first: Tensor
) -> tuple[FitResult, Tensor]:
    """Fit the found faces; the results of all videos, and which videos (V,) accept their face.

    OpenFace: a first face is accepted whatever the validator says. Where another one is not, pose, shape, landmarks and
    likelihoods of the failed fit are restored; view, confidence, success and parts stay those of the rejected one.
    """
    rows = found.nonzero().squeeze(1)
    if not rows.numel():
        return faces, found
    fitted = put_rows(faces, rows, follower.fit(scene, face.boxes[rows], rows))
    accepted = found & (first | fitted.success)
    restored = {name: where_rows(accepted, getattr(fitted, name), getattr(faces, name)) for name in RESTORED}
    return replace(fitted, **restored), accepted


def _after_detection(tracks: Tracks, faces: FitResult, found: Tensor, accepted: Tensor) -> Tracks:
    """What is known of each face at the end of a frame.

    OpenFace: where a face was found the function ends early; elsewhere a track is given up after too many failures,
    which goes on counting.
    """
    failures = torch.where(accepted, NO_FAILURE, tracks.failures)
    failures = torch.where(found | tracks.initialised, failures, failures + 1)
    return replace(
        tracks,
        params=faces.params,
        landmarks=faces.landmarks,
        confidence=faces.confidence,
        success=torch.where(found, faces.kept_success, tracks.success),
        initialised=found | (tracks.initialised & (failures <= GIVE_UP)),
        failures=failures,
    )
