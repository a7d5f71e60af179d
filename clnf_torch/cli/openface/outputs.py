"""What OpenFace's flags ask for: groups of columns, names of files, and the description beside them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from clnf_torch.cli.openface.aligned_files import Alignment
from clnf_torch.cli.outputs import Targets
from clnf_torch.export.csv import CSVForm
from clnf_torch.export.openface_columns import GROUPS
from clnf_torch.files.names import escaped_name
from clnf_torch.files.writing import write_atomically
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.measures.gaze import EYE_PARTS
from clnf_torch.media.image_folder import DESCRIBED_DRAWING, IMAGES, VIDEOS
from clnf_torch.models.landmark_model import LandmarkModel

OUT_DIR = Path("processed")
# What ``-of`` may end with that is no part of a name, as ".s1" of "P01.s1" is
SUFFIXES = {".csv", ".hog", ".txt", *IMAGES, *VIDEOS}
# What the description calls the groups of columns, in its order; action units are not among what is measured
DESCRIBED = {
    "gaze": "Gaze", "aus": "AUs", "2Dfp": "Landmarks 2D", "3Dfp": "Landmarks 3D", "pose": "Pose",
    "pdmparams": "Shape parameters",
}  # fmt: skip


@dataclass(frozen=True)
class Requested:
    """Outputs that were asked for.

    Attributes:
        groups: Of columns, of `GROUPS`; none: no table.
        tracked: Whether drawings are written.
        aligned: Whether aligned faces are.
    """

    groups: frozenset[str]
    tracked: bool
    aligned: bool = False

    @classmethod
    def by(cls, flags: dict[str, bool]) -> "Requested":
        """By the flags that were given: table and drawings where there are none.

        Args:
            flags: Those of `GROUPS`, "tracked" and "aligned".
        """
        if not any(flags.values()):
            return cls(frozenset(GROUPS), tracked=True)
        return cls(frozenset(group for group in GROUPS if flags[group]), flags["tracked"], flags["aligned"])

    def targets(self, folder: Path, form: CSVForm, alignment: Alignment) -> Targets:
        """The outputs in a folder."""
        csv, draw, aligned = (folder if wanted else None for wanted in (self.groups, self.tracked, self.aligned))
        return Targets(csv=csv, draw=draw, aligned=aligned, form=form, alignment=alignment)


def output_place(out_dir: Path | None, name: Path | None, inputs: Sequence[Path]) -> tuple[Path, list[str] | None]:
    """The folder of outputs, and what they are called; None: as their inputs.

    Args:
        out_dir: Of ``-out_dir``.
        name: Of ``-of``; its folder counts from the other one, the suffix of a table, image or video not at all.
        inputs: All that were given.

    Raises:
        typer.BadParameter: One name for several inputs.
    """
    if name is None:
        return out_dir or OUT_DIR, None
    if len(inputs) > 1:
        raise typer.BadParameter(f"-of {name}: there are {len(inputs)} inputs; give -out_dir alone")
    names = [name.stem if name.suffix.lower() in SUFFIXES else name.name]
    if out_dir is None and name.parent != Path():
        return name.parent, names
    return (out_dir or OUT_DIR) / name.parent, names


def measured_groups(model: LandmarkModel) -> frozenset[str]:
    """The groups of columns that a model measures: no action units, gaze where it has both eyes."""
    has_eyes = set(EYE_PARTS) <= {part.name for part in model.parts}
    return frozenset(GROUPS) - {"aus"} - (set() if has_eyes else {"gaze"})


def write_details(source: Path, camera: Intrinsics, targets: Targets, measured: Collection[str]) -> None:
    """Writes ``NAME_of_details.txt`` beside the outputs of an input.

    Args:
        source: The input.
        camera: What took it.
        targets: Its outputs; at least one.
        measured: Groups of columns whose numbers are known.
    """
    lens = ",".join(f"{value:g}" for value in (*camera.focal.tolist(), *camera.center.tolist()))
    lines = [f"Input:{escaped_name(str(source))}", f"Camera parameters:{lens}"]
    if targets.csv is not None:
        groups = (targets.form.openface_groups or frozenset()) & set(measured)
        lines.append(f"Output csv:{escaped_name(targets.csv.name)}")
        lines += [f"{name}: {int(group in groups)}" for group, name in DESCRIBED.items()]
    if targets.draw is not None:
        kind = "image" if targets.draw.suffix == ".png" else "video"
        lines.append(f"{DESCRIBED_DRAWING[kind]}{escaped_name(targets.draw.name)}")
    if targets.aligned is not None:
        how = targets.alignment
        lines.append(f"Output aligned faces:{escaped_name(targets.aligned.name)}")
        lines.append(f"Aligned size, scale, mask:{how.size},{how.scale:g},{int(how.masked)}")
    with write_atomically(targets.details()) as file:
        file.write("".join(f"{line}\n" for line in lines).encode("utf-8"))
