"""Files of faces, equal to those that the command line writes."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from clnf_torch.export.csv import CSVForm, csv_file
from clnf_torch.export.json import face_lines, frame_heads, image_heads, json_file
from clnf_torch.files.names import escaped_names
from clnf_torch.geometry.records import map_tensors

if TYPE_CHECKING:
    from clnf_torch.faces.record import FaceRecord

SUFFIXES = (".csv", ".parquet", ".json", ".png")


def save_faces(record: "FaceRecord", path: str | os.PathLike[str], openface_precision: bool = False) -> None:
    """Writes faces to a file whose name says how; see `FaceRecord.save`."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected a name that ends with {', '.join(SUFFIXES)}, found {suffix or 'no suffix'}")
    if suffix == ".csv":
        form = CSVForm(openface_precision=openface_precision)
        with csv_file(path, image_mode=record.of_images, form=form) as rows:
            rows.append(record.table.to("cpu"))
    elif suffix == ".parquet":
        _save_parquet(record, path)
    elif suffix == ".json":
        _save_json(record, path)
    else:
        from clnf_torch.faces.plot import save_drawing

        save_drawing(record, path)


def _save_parquet(record: "FaceRecord", path: Path) -> None:
    """Writes Parquet; pyarrow is loaded only now."""
    try:
        from clnf_torch.export.parquet import parquet_file
    except ImportError as error:
        raise RuntimeError(str(error)) from error
    with parquet_file(path, image_mode=record.of_images) as rows:
        rows.append(record.table.to("cpu"))


def _save_json(record: "FaceRecord", path: Path) -> None:
    """Writes JSON, one face on each line."""
    table, fit = record.table.to("cpu"), map_tensors(lambda values: values.detach().cpu(), record.fit)
    boxes = getattr(record, "given_boxes", None)
    if table.image is not None and boxes is not None:
        heads = image_heads(table.image, boxes.tolist())
    else:
        heads = frame_heads(table)
    with json_file(path, escaped_names(record.head)) as rows:
        rows.append(face_lines(heads, fit, table))
