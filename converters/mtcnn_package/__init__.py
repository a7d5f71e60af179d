"""The weights of the PyPI package ``mtcnn`` 1.0 (MIT licence), as a bundle's face detector."""

from clnf_torch.converters.mtcnn_package.record import LICENCE, face_detector_record

__all__ = ["LICENCE", "face_detector_record"]
