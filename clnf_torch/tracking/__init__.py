"""Floor 5: faces followed through videos, many videos side by side."""

from clnf_torch.tracking.config import VideoConfig
from clnf_torch.tracking.result import VideoResult
from clnf_torch.tracking.state import TrackState
from clnf_torch.tracking.tracker import VideoTracker

__all__ = ["TrackState", "VideoConfig", "VideoResult", "VideoTracker"]
