"""Faces in images and videos in one call, as records that are shown, sliced, drawn and saved."""

from clnf_torch.faces.detection import detect
from clnf_torch.faces.face_track import FaceTrack
from clnf_torch.faces.faces import Face, Faces, Problem
from clnf_torch.faces.tracking import track

__all__ = ["Face", "FaceTrack", "Faces", "Problem", "detect", "track"]
