"""Faces drawn on images: contours, eyes, head axes, gaze and labels, with the confidence as colour."""

from clnf_torch.drawing.draw import draw_faces, frame_caption
from clnf_torch.drawing.faces import DrawnFaces
from clnf_torch.drawing.style import DrawingStyle, confidence_colour

__all__ = ["DrawingStyle", "DrawnFaces", "confidence_colour", "draw_faces", "frame_caption"]
