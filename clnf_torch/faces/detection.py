"""Faces in images, from whatever holds them, in one call."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from clnf_torch.export.face_rows import FaceRows, face_table
from clnf_torch.export.face_table import FaceTable
from clnf_torch.faces.boxes import boxes_by_image
from clnf_torch.faces.faces import Faces, Problem
from clnf_torch.faces.models import LoadedModels, installed_eraser, loaded_models
from clnf_torch.faces.sources import ImageSource, image_sources
from clnf_torch.fitting.config import FitConfig
from clnf_torch.geometry.camera import Intrinsics, check_camera
from clnf_torch.geometry.records import join_rows
from clnf_torch.media.batches import MAX_FRAMES, Batch, Complain, Job, find_faces, image_problem, in_batches, with_boxes
from clnf_torch.media.image_faces import FitOptions, fit_batch
from clnf_torch.models.numerics import Numerics
from clnf_torch.pipeline import FitResult
from clnf_torch.tracking.result import no_faces


def detect(
    source: Any,
    model: Any = None,
    *,
    face_detector: Any = None,
    boxes: Any = None,
    box_format: str = "xywh",
    preset: str | FitConfig = "default",
    multi_view: bool | None = None,
    eyes: bool = True,
    device: torch.device | str | None = None,
    numerics: str | Numerics | None = None,
    precision: str | None = None,
    camera: Intrinsics | None = None,
    likelihoods: bool = False,
    erase_marks: bool = False,
    batch: int = MAX_FRAMES,
) -> Faces:
    """Faces in images: landmarks, head pose, and gaze where the model has eyes.

    Args:
        source: A path, a folder of images, a pattern such as ``"faces/*.jpg"``, an image of Pillow's, an array or a
            tensor, or a list of any of these; the sizes may differ. Folders are read in the order of file managers,
            without those below them. Arrays have their channels last, tensors first, red, green, blue: one image is an
            array (H, W) or (H, W, 3) or a tensor (H, W) or (3, H, W), a batch of them (F, H, W, 3) or (F, 3, H, W), of
            gray ones (F, H, W, 1) or (F, 1, H, W). Other shapes are refused.
        model: A bundle, the name of a landmark model that another package registers, or a `LandmarkDetector`; None:
            the default model. What is loaded is kept for the next call. "small" and "free" find faces with BlazeFace,
            which misses those that are small in the image; `face_detector` may be the default model's MTCNN instead.
        face_detector: A `FaceDetector`, the name of one that another package registers, or a bundle with one; None:
            that of the model's bundle.
        boxes: Extent of the faces' landmarks, brows to chin and jaw to jaw, pixels, in place of detected ones: shape
            (4,) or (K, 4) for one image, a list with an entry for each image, or a dictionary by file name.
        box_format: "xywh" (left, top, width, height) or "xyxy" (left, top, right, bottom).
        preset: "default", "wild", or a `FitConfig` of one's own.
        multi_view: Try eleven rotations of the head; None: as the preset says.
        eyes: Fit the model's parts, such as the eyes, where it has any.
        device: "cpu", "cuda", ...; None: where the model is, the CPU for one that is loaded here.
        numerics: As for `load`.
        precision: As for `load`.
        camera: The camera behind all images; None: the one that OpenFace assumes for their size.
        likelihoods: Add each landmark's likelihood to the tables.
        erase_marks: Take pen marks away before landmarks are looked for; see `PenMarkEraser`. Colours help.
        batch: Images that are computed together, at most; of large ones 67 million pixels.

    Returns:
        All faces, in the order of the images; what cannot be read, and boxes that cannot be used, are in `problems`.

    Raises:
        FileNotFoundError: The source is one path, and there is no such file.
        TypeError: The source, or an item of a list, is of a type that holds no images. (None in a list stands for an
            image that could not be read.)
        ValueError: The source, or an argument, is none of what it may be.
        BundleError: The model's file is none.
    """
    sources = image_sources(source)
    given = None if boxes is None else boxes_by_image(boxes, box_format, sources)
    models = loaded_models(model, face_detector, device, numerics, precision, find=given is None)
    eraser = installed_eraser(models.device) if erase_marks else None
    options = FitOptions(preset, multi_view, camera_of(camera), likelihoods, parts=eyes, eraser=eraser)
    problems: list[Problem] = []

    def complain(number: int, line: str) -> None:
        problems.append(Problem(sources[number].name, line))

    jobs = _jobs(sources, given, models, batch, complain)
    return _fitted(models, in_batches(jobs, batch), options, sources, problems)


def camera_of(camera: Intrinsics | None) -> Callable[[int, int], Intrinsics]:
    """The camera behind images of a width and height, pixels: the given one, or the one that OpenFace assumes."""
    if camera is None:
        return Intrinsics.for_image
    camera = check_camera(camera)
    return lambda width, height: camera


def _jobs(
    sources: Sequence[ImageSource],
    given: Callable[[int], list[Any]] | None,
    models: LoadedModels,
    batch: int,
    complain: Complain,
) -> Iterator[Job]:
    """Images with the faces to fit: in given boxes, or where the face detector finds them."""
    if given is None:
        assert models.faces is not None
        yield from find_faces(models.faces, in_batches(_read(sources, complain), batch))
        return
    for job in _read(sources, complain):
        try:
            boxes = given(job.number)
        except ValueError as error:
            complain(job.number, str(error))
            continue
        yield with_boxes(job, boxes, functools.partial(complain, job.number))


def _read(sources: Sequence[ImageSource], complain: Complain) -> Iterator[Job]:
    """The images that can be read, without boxes."""
    for number, source in enumerate(sources):
        try:
            yield Job(Path(source.name), source.pixels(), [], number)
        except Exception as error:
            complain(number, image_problem(Path(source.name), error))


def _fitted(
    models: LoadedModels,
    batches: Iterator[Batch],
    options: FitOptions,
    sources: Sequence[ImageSource],
    problems: list[Problem],
) -> Faces:
    """The faces of all batches."""
    found: list[tuple[FitResult, FaceTable]] = []
    boxes: list[Any] = []
    image_index: list[int] = []
    for batch in batches:
        if batch.faces:
            found.append(fit_batch(models.landmarks, batch, options))
            boxes += [box for job in batch.jobs for box in job.boxes]
            image_index += [job.number for job in batch.jobs for _ in job.boxes]
    fits, tables = zip(*(found or [_nothing(models, options)]), strict=True)
    return Faces(
        fit=join_rows(*fits),
        table=FaceTable.join(tables),
        given_boxes=torch.tensor(boxes, dtype=torch.float64, device="cpu").view(-1, 4),
        image_index=torch.tensor(image_index, dtype=torch.int64, device="cpu"),
        sources=tuple(sources),
        problems=tuple(problems),
        head={"model": models.name},
    ).to(models.device)


def _nothing(models: LoadedModels, options: FitOptions) -> tuple[FitResult, FaceTable]:
    """The fit, and the table, of no face."""
    fit = no_faces(models.landmarks.model).faces
    none = torch.zeros(0, dtype=torch.int64, device=models.device)
    rows = FaceRows(faces=fit, success=fit.success, frame=none, face_id=none, timestamp=none.double())
    table = face_table(rows, models.landmarks, options.camera(1, 1), options.likelihoods)
    return fit, replace(table, image=())
