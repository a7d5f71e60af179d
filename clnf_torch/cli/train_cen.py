"""``clnf-torch train cen`` and ``train finetune``: patch experts from annotated faces, new ones or a bundle's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from clnf_torch.cli.console import complain, failures_exit_with, finishing_first, notice, say
from clnf_torch.cli.media import read_picture
from clnf_torch.cli.options import Device, device_named
from clnf_torch.cli.progress import counting_bar
from clnf_torch.models.archive import save_archive
from clnf_torch.models.bundle import build_model, default_bundle, load_bundle
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.pdm import PDM
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.annotations import Annotations, read_annotations
from clnf_torch.training.bundles import RESEARCH_USE
from clnf_torch.training.cen_bundle import calibrated, cen_bundle
from clnf_torch.training.cen_recipe import OPENFACE_SCALES, CenRecipe, CenScale, train_cen, unseen_faces
from clnf_torch.training.cen_samples import Spoiling
from clnf_torch.training.cen_training import CenConfig
from clnf_torch.training.crops import FaceCrops, cut_crops
from clnf_torch.training.end_to_end import EndToEndConfig, train_end_to_end
from clnf_torch.training.fine_tuning import TuningConfig, fine_tune, tuned_bundle
from clnf_torch.training.learning import learnable_experts
from clnf_torch.training.memory import keep_freed_memory
from clnf_torch.training.priors import read_prior
from clnf_torch.training.shape import train_shape
from clnf_torch.training.shape_gaussian import MIRROR_68, ShapeGaussian

CROP = 352  # pixels: a face of 140 mm at 1.25 pixels per millimetre, and as much around it; 8 divides its quarter
LEAST_FACES = 20
SCALE_HELP = "Pixels per millimetre and widths of the hidden layers; may be repeated. OpenFace's four if left out."

Data = Annotated[Path, typer.Argument(metavar="DATA", help="Faces: landmarks.npz, or pictures with .pts files.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="MODEL.pt", help="Where the bundle is written.")]
Split = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Faces of this set; may be repeated.")]
HoldOut = Annotated[int, typer.Option(metavar="K", min=2, help="Judge by every K-th face instead of learning from it.")]
Light = Annotated[bool, typer.Option("--light/--no-light", help="Show the faces in bad light and by bad cameras too.")]
Marked = Annotated[float, typer.Option(min=0, max=1, help="Share of the faces with pen markings drawn on them.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same model on the same machine.")]


def cen(
    data: Data,
    out: Out,
    work: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Checkpoints: the same command goes on from them.")
    ] = None,
    split: Split = None,
    shape: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Shape model: a bundle's, or one begun from ICT-FaceKit's .npz.")
    ] = None,
    train_the_shape: Annotated[
        bool, typer.Option("--train-shape", help="Train the shape model on the faces too, from --shape on.")
    ] = False,
    scale: Annotated[list[str] | None, typer.Option(metavar="SCALE:WIDTHS", help=SCALE_HELP)] = None,
    epochs: Annotated[int, typer.Option(min=1, help="How often every face is shown eleven times.")] = 25,
    rate: Annotated[float, typer.Option(help="Learning rate; 1e-3 learns from few faces sooner.")] = 5e-5,
    least_faces: Annotated[int, typer.Option(min=1, help="Views with fewer are left to their neighbours.")] = 40,
    hold_out: HoldOut = 10,
    light: Light = True,
    marked: Marked = 0.0,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Terms of use, kept in the bundle.")] = RESEARCH_USE,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Train OpenFace's kind of patch experts (CEN) by the recipe of its authors. Ctrl-C keeps what is done."""
    scales = _scales(scale)
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        keep_freed_memory()
        faces, crops = _faces(data, split, device_named(device))
        pdm = _shape(shape or default_bundle(), crops, train_the_shape)
        training = CenConfig(epochs=epochs, rate=rate, spoiling=Spoiling(light=light, marked=marked))
        recipe = CenRecipe(scales=scales, training=training, least_faces=least_faces, held_out=hold_out, seed=seed)
        with counting_bar(None, "epochs", stop_if_asked) as done:
            model = train_cen(crops, pdm, _mirror(crops), recipe, work, _reporting(done), notice)
        model = calibrated(model, unseen_faces(crops, pdm, hold_out), seed)
        save_archive(cen_bundle(model, [_source(faces, data)], licence), out)
        say(f"{out}: trained on {len(faces)} faces; clnf-torch evaluate tells how good it is")


def finetune(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE.pt", help="A bundle with CEN experts, OpenFace's too.")],
    data: Data,
    out: Out,
    split: Split = None,
    shape: Annotated[bool, typer.Option("--shape", help="Train the shape model too, from the old one on.")] = False,
    epochs: Annotated[int, typer.Option(min=0, help="How often every face is shown.")] = 5,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-5,
    end_to_end: Annotated[
        int, typer.Option(metavar="STEPS", min=0, help="Steps through the whole fit afterwards.")
    ] = 0,
    hold_out: HoldOut = 10,
    light: Light = True,
    marked: Marked = 0.0,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Tune a bundle's patch experts on other faces. What does not help held-out faces is taken back."""
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        keep_freed_memory()
        where, content = device_named(device), load_bundle(bundle)
        model = build_model(content).to(where)
        _check_family(model, bundle)
        faces, crops = _faces(data, split, where)
        if shape:
            model.pdm = _retrained(ShapeGaussian.of_pdm(model.pdm.cpu()), crops)
        spoiling = Spoiling(light=light, marked=marked)
        tuning = TuningConfig(epochs=epochs, rate=rate, held_out=hold_out, spoiling=spoiling, seed=seed)
        with counting_bar(epochs * model.num_scales + end_to_end, "steps", stop_if_asked) as done:
            result = fine_tune(model, crops, _mirror(crops), tuning, lambda *_: done(1))
            for size, before, after in zip(model.patch_scales, result.before, result.after, strict=True):
                say(f"scale {size:g}: error of the response maps {before:.5f}, now {after:.5f}")
            if end_to_end:
                config = EndToEndConfig(steps=end_to_end, rate=rate, held_out=hold_out, spoiling=spoiling, seed=seed)
                learnable_experts(model)
                errors = train_end_to_end(LandmarkDetector(model, "exact"), crops, config, lambda *_: done(1))
                say("error of the landmarks {:.4f} of the face's size, now {:.4f}".format(*errors))
        save_archive(tuned_bundle(content, model, _source(faces, data)["name"]), out)
        say(f"{out}: tuned on {len(faces)} faces")


def _scales(texts: list[str] | None) -> tuple[CenScale, ...]:
    """The scales of `--scale`, coarse to fine."""
    try:
        chosen = tuple(sorted((CenScale.named(text) for text in texts or ()), key=lambda scale: scale.scale))
    except ValueError as error:
        raise typer.BadParameter(f"--scale {error}") from None
    return chosen or OPENFACE_SCALES


def _faces(data: Path, split: list[str] | None, where: torch.device) -> tuple[Annotations, FaceCrops]:
    """The annotated faces, and their pictures on a device."""
    found = read_annotations(data)
    found = found.of_split(*split) if split else found
    if len(found) < LEAST_FACES:
        complain(f"{data}: {len(found)} faces are too few to learn from; give at least {LEAST_FACES}")
        raise typer.Exit(1)
    crops = cut_crops(found, read_picture, side=CROP)
    return found, FaceCrops(grey=crops.grey.to(where), landmarks=crops.landmarks.to(where))


def _shape(path: Path, crops: FaceCrops, trained: bool) -> PDM:
    """The shape model of a bundle; or one trained on the faces, from a bundle's or a blendshape model's shapes on."""
    if path.suffix == ".npz" or trained:
        return _retrained(read_prior(path), crops)
    return build_model(load_bundle(path)).pdm


def _retrained(prior: ShapeGaussian, crops: FaceCrops) -> PDM:
    """A shape model of the faces, on their device."""
    return train_shape(crops.landmarks.cpu(), prior, torch.tensor(MIRROR_68)).float().to(crops.landmarks.device)


def _check_family(model: LandmarkModel, path: Path) -> None:
    """Refuses what cannot be tuned here."""
    if model.family != "cen" or model.pdm.num_landmarks != len(MIRROR_68):
        found = f"{model.pdm.num_landmarks} landmarks and {model.family!r} experts"
        complain(f"{path}: it has {found}; models of 68 and 'cen' can be tuned")
        raise typer.Exit(1)


def _mirror(crops: FaceCrops) -> torch.Tensor:
    """The partners of the 68 landmarks, where the faces are."""
    return torch.tensor(MIRROR_68, device=crops.landmarks.device)


def _source(faces: Annotations, data: Path) -> dict[str, Any]:
    """What was learned from, in words."""
    return {"name": f"{len(faces)} annotated faces of {data.resolve().name}"}


def _reporting(done: Callable[[int], None]) -> Callable[[str, int, int, float], None]:
    """Counts epochs, and says how good a view is when it is trained."""

    def report(what: str, epoch: int, epochs: int, good: float) -> None:
        if epoch == epochs:
            notice(f"{what}: squared correlation {good:.3f} on held-out faces")
        done(1)

    return report
