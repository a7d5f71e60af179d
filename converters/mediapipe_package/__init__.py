"""The weights of BlazeFace in the PyPI package ``mediapipe`` (Apache licence 2.0), as a bundle's face detector."""

from clnf_torch.converters.mediapipe_package.record import LICENCE, blazeface_record

__all__ = ["LICENCE", "blazeface_record"]
