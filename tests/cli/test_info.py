"""``clnf-torch info``: every part of the model has its line."""

from __future__ import annotations

from clnf_torch.cli.runs.info import describe
from clnf_torch.converters import convert
from clnf_torch.models.bundle import bundle_file, default_bundle, load_bundle
from tests.files.archives import with_byte


def lines_of(source, out) -> dict[str, str]:
    """What is said of a model, converted."""
    convert(source, out)
    return by_first_word(out)


def by_first_word(out) -> dict[str, str]:
    """What is said of a bundle, by its first word."""
    return {line[2:19].strip(): line[21:] for line in describe(load_bundle(out), out) if line[2:19].strip()}


def test_a_model_without_parts_and_validator(golden_dir, tmp_path):
    said = lines_of(golden_dir / "free_model", tmp_path / "m.pt")
    assert said["validation"] == "none: every fit that does not fail succeeds" and "part" not in said


def test_a_model_with_everything(openface_models, tmp_path):
    said = lines_of(openface_models / "main_clnf_general.txt", tmp_path / "m.pt")
    assert said["part"] == "right_eye_28: 28 landmarks, CCNF at 1, 1.5"  # the last of them
    assert said["validation"] == "CNN, 7 views at yaw 0, -20, -45, -70, 20, 45, 70"


def test_the_default_model():
    said = by_first_word(default_bundle())
    assert said["early termination"] == "1 view" and said["face detector"] == "MTCNN"
    assert said["experts at 0.225"] == "MESH, 192 x 192 px, 1 view at yaw 0"
    assert said["experts at 0.3"] == "HEATMAP, 128 x 128 px, 1 view at yaw 0"
    assert said["refinement"] == "landmarks are means of the fitted shape and of the centroids of 3 scales' responses"
    assert said["validation"] == "CNN, 1 view at yaw 0"
    assert said["depth shape"] == "33 modes, placed by 43 landmarks: depths and head poses are its"


def test_bundles_without_a_landmark_model_are_described_too():
    said = by_first_word(bundle_file(None).with_name("blazeface.pt"))
    assert said["face detector"] == "BLAZEFACE" and said["licence"].startswith("Weights of BlazeFace")
    assert not {"numerics", "shape model", "validation", "pen marks"} & set(said)
    said = by_first_word(bundle_file(None).with_name("pen_marks.pt"))
    assert said["pen marks"].startswith("erased by") and "face detector" not in said


def test_info_without_a_bundle_tells_of_the_default_model(clnf_torch_cli):
    done = clnf_torch_cli("info")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith(f"{default_bundle()}: ")


def test_info_says_what_is_inside(clnf_torch_cli, bundle):
    done = clnf_torch_cli("info", bundle)
    assert done.exit_code == 0, done.stderr
    assert "68 landmarks, 10 modes" in done.stdout
    assert done.stdout.count("experts at") == 4
    assert done.stdout.count("sha256") == 7
    assert "no published hash known" in done.stdout


def test_info_compares_with_the_checksums(clnf_torch_cli, bundle, tmp_path):
    done = clnf_torch_cli("info", bundle, "--verify")
    assert done.exit_code == 0 and "every record agrees with its checksum" in done.stdout
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(bundle.read_bytes())
    with_byte(damaged, "data/3")
    done = clnf_torch_cli("info", damaged, "--verify")
    assert done.exit_code == 1 and not done.stdout
    assert "does not agree with its checksum; the file is damaged" in done.stderr and done.stderr.count("\n") == 1
