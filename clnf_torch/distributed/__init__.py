"""From one machine to many: the faces of images and videos on a Ray cluster, with the rows of the command line.

detect_images: The faces of any number of images.
track_videos: The faces of any number of videos, each with its identity.
read: All rows of a job as one table.
manifest: What became of each input, as a table.
Actors: How many compute, and what each of them has.
DetectSettings: How the faces of images are found and measured.
JobError: A job that cannot begin, or did not finish.
StorageError: A place that cannot be used.
"""

from clnf_torch.distributed.cluster import Actors, JobError
from clnf_torch.distributed.detect import detect_images
from clnf_torch.distributed.images import DetectSettings
from clnf_torch.distributed.storage import StorageError
from clnf_torch.distributed.tables import manifest, read
from clnf_torch.distributed.track import track_videos
from clnf_torch.distributed.videos import TrackSettings

__all__ = [
    "Actors",
    "DetectSettings",
    "JobError",
    "StorageError",
    "TrackSettings",
    "detect_images",
    "manifest",
    "read",
    "track_videos",
]
