"""Tracks faces through videos, many videos in parallel."""

from clnf_torch.tracking.config import VideoConfig
from clnf_torch.tracking.result import VideoResult
from clnf_torch.tracking.state import TrackState
from clnf_torch.tracking.tracker import VideoTracker

__all__ = ["TrackState", "VideoConfig", "VideoResult", "VideoTracker"]
