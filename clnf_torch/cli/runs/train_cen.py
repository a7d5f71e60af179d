"""``clnf-torch train cen``: CEN patch experts from annotated faces."""

from collections.abc import Callable
from pathlib import Path

import typer

import clnf_torch
from clnf_torch.cli.annotated_faces import (
    check_trained,
    checkpoint_folder,
    mirror_of,
    read_faces,
    require_learning_rate,
    retrained,
    source_of,
)
from clnf_torch.cli.console import failures_exit_with, finishing_first, notice, say
from clnf_torch.cli.options import device_named
from clnf_torch.cli.progress import counting_bar
from clnf_torch.models.bundle import build_model, default_bundle, load_bundle, save_bundle
from clnf_torch.models.pdm import PDM
from clnf_torch.training.augmentation.photometric import ImageAugmentation
from clnf_torch.training.cen import CenConfig
from clnf_torch.training.cen_recipe import (
    OPENFACE_SCALES,
    CenRecipe,
    CenScale,
    calibrated,
    train_cen,
    unseen_faces,
)
from clnf_torch.training.data.annotations import RESEARCH_USE
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.shape.pdm import read_prior
from clnf_torch.training.trainer import keep_freed_memory


def cen(
    *,
    data: Path,
    out: Path,
    work: Path | None,
    split: list[str] | None,
    shape: Path | None,
    train_the_shape: bool,
    scale: list[str] | None,
    epochs: int,
    learning_rate: float,
    least_faces: int,
    hold_out: int,
    photometric: bool,
    pen_marks: float,
    licence: str | None,
    seed: int,
    device: str,
) -> None:
    """Train OpenFace's kind of patch experts (CEN) by the recipe of its authors. Ctrl-C keeps what is done."""
    require_learning_rate(learning_rate)
    scales, prior = _scales(scale), shape or default_bundle()
    check_trained(data, out, work, prior)
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        keep_freed_memory()
        faces, crops = read_faces(data, split, hold_out, device_named(device))
        pdm = _shape(prior, crops, train_the_shape)
        training = CenConfig(
            epochs=epochs,
            learning_rate=learning_rate,
            augmentation=ImageAugmentation(photometric=photometric, pen_marks=pen_marks),
        )
        recipe = CenRecipe(scales=scales, training=training, least_faces=least_faces, held_out=hold_out, seed=seed)
        with checkpoint_folder(out, work) as folder:
            with counting_bar(None, "epochs", stop_if_asked) as done:
                model = train_cen(crops, pdm, mirror_of(crops), recipe, folder, _reporting(done), notice)
            model = calibrated(model, unseen_faces(crops, pdm, hold_out), seed)
            terms = RESEARCH_USE if licence is None else licence
            writer, sources = f"clnf_torch {clnf_torch.__version__}", [source_of(faces, data)]
            save_bundle(
                out,
                model,
                writer=writer,
                licence=terms,
                numerics="exact",
                sources=sources,
            )
        say(f"{out}: trained on {len(faces)} faces; clnf-torch evaluate tells how good it is")


def _scales(texts: list[str] | None) -> tuple[CenScale, ...]:
    """The scales of `--scale`, coarse to fine."""
    try:
        chosen = tuple(sorted((CenScale.named(text) for text in texts or ()), key=lambda scale: scale.scale))
    except ValueError as error:
        raise typer.BadParameter(f"--scale {error}") from None
    return chosen or OPENFACE_SCALES


def _shape(path: Path, crops: FaceCrops, trained: bool) -> PDM:
    """The shape model of a bundle; or one trained on the faces, from a bundle's or a blendshape model's shapes on."""
    if path.suffix == ".npz" or trained:
        return retrained(read_prior(path), crops)
    return build_model(load_bundle(path)).pdm


def _reporting(done: Callable[[int], None]) -> Callable[[str, int, int, float], None]:
    """Counts epochs, and says how good a view is when it is trained."""

    def report(what: str, epoch: int, epochs: int, good: float) -> None:
        if epoch == epochs:
            notice(f"{what}: squared correlation {good:.3f} on held-out faces")
        done(1)

    return report
