"""``clnf-torch train eraser``: the eraser of pen marks, from photographs of faces."""

from pathlib import Path

from clnf_torch import __version__
from clnf_torch.cli.annotated_faces import checkpoint_folder
from clnf_torch.cli.console import failures_exit_with, finishing_first, say
from clnf_torch.cli.options import device_named
from clnf_torch.cli.output_check import Output, check_outputs
from clnf_torch.cli.progress import counting_bar, training_bars
from clnf_torch.detection import load_face_detector
from clnf_torch.media.image_folder import image_files
from clnf_torch.media.images import read_image
from clnf_torch.models.bundle import save_bundle
from clnf_torch.pipeline import load
from clnf_torch.training.pen_mark_eraser import EraserConfig, colour_faces, train_eraser
from clnf_torch.training.trainer import keep_freed_memory

# Whatever finds the faces, nothing but their photographs is learned from; this one is anybody's
MODEL = "free"


def eraser(
    *, portraits: list[Path], out: Path, licence: str, work: Path | None, steps: int, seed: int, device: str
) -> None:
    """Train the eraser of pen marks on photographs that marks are drawn on; the free model finds their faces."""
    folders = [] if work is None else [Output("--work", work, folder=True)]
    check_outputs([], [Output("--out", out), *folders])
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        keep_freed_memory()
        where = device_named(device)
        files = [path for folder in portraits for path in image_files(folder)]
        with counting_bar(len(files), "photographs", stop_if_asked) as done:
            faces = colour_faces(map(read_image, files), load_face_detector(MODEL), load(MODEL), lambda _: done(1))
        config = EraserConfig(steps=steps, seed=seed)
        with checkpoint_folder(out, work) as folder, training_bars(stop_if_asked) as report:
            network = train_eraser(faces, config, folder, report, where)
        names = " and ".join(folder.resolve().name for folder in portraits)
        save_bundle(
            out,
            None,
            writer=f"clnf_torch {__version__}",
            licence=licence,
            numerics="exact",
            sources=[{"name": f"{len(faces)} photographs of {names}, {steps} steps, seed {seed}"}],
            pen_mark_eraser=network.to_record(),
        )
        say(f"{out}: an eraser of pen marks, trained on {len(faces)} faces")
