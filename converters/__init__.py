"""OpenFace files in, bundles out, and back; and the face detectors of other packages."""

from clnf_torch.converters.conversion import ConversionReport, convert
from clnf_torch.converters.exporting import export
from clnf_torch.converters.face_detector import convert_face_detector
from clnf_torch.converters.locate import PREFERRED, Source, find_source
from clnf_torch.converters.openface.errors import ConversionError, Place
from clnf_torch.converters.openface.model_files import Skipped
from clnf_torch.converters.openface.sources import SourceFile

__all__ = [
    "PREFERRED",
    "ConversionError",
    "ConversionReport",
    "Place",
    "Skipped",
    "Source",
    "SourceFile",
    "convert",
    "convert_face_detector",
    "export",
    "find_source",
]
