"""``clnf-torch export``: OpenFace's files again, byte for byte."""

from __future__ import annotations

import torch

from clnf_torch.files.archive import save_archive
from clnf_torch.models.bundle import default_bundle


def test_export_returns_the_files(clnf_torch_cli, free_model, bundle, tmp_path):
    done = clnf_torch_cli("export", bundle, tmp_path / "back")
    written = sorted((tmp_path / "back").iterdir())
    assert done.exit_code == 0, done.stderr
    assert [path.name for path in written] == [path.name for path in sorted(free_model.glob("*.dat"))]
    assert all(path.read_bytes() == (free_model / path.name).read_bytes() for path in written)


def test_the_default_model_has_no_format_in_openface(clnf_torch_cli, tmp_path):
    done = clnf_torch_cli("export", default_bundle(), tmp_path / "back")
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 2 and not (tmp_path / "back").exists()
    assert "default.pt: expected CEN experts, found MESH experts; name a" in line


def test_a_folder_without_validator_says_so(clnf_torch_cli, free_model, bundle, tmp_path):
    content = torch.load(bundle, weights_only=True)
    for record in content["model"]["experts"]:
        record.pop("openface")
    save_archive(content, tmp_path / "tuned.pt")
    done = clnf_torch_cli("export", tmp_path / "tuned.pt", tmp_path / "back")
    assert done.exit_code == 0 and "-validate_detections 0" in done.stderr
    done = clnf_torch_cli("export", tmp_path / "tuned.pt", tmp_path / "whole", "--source", free_model)
    assert done.exit_code == 0 and done.stderr == ""
    assert (tmp_path / "whole" / "main_ceclm_free.txt").is_file()
