"""Files of the published size (430 MB): memory, and the way back."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clnf_torch.converters import export

LARGEST = 154_289_792  # bytes, of the published files
CONVERT = """
import resource, sys, torch
import clnf_torch.converters as converters
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
converters.convert(sys.argv[1], sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.fixture(scope="module")
def real_size(shared: Path, openface_models: Path, tmp_path_factory) -> Path:
    """A model directory whose CEN files have the published size, made from the stand-ins."""
    tool = shared / "tools" / "real_size_cen.py"
    folder = tmp_path_factory.mktemp("real_size")
    if not tool.is_file() or shutil.disk_usage(folder).free < 2 << 30:
        pytest.skip("needs ../shared/tools/real_size_cen.py and 2 GB of disk")
    subprocess.run([sys.executable, tool, openface_models / "patch_experts", folder / "patch_experts"], check=True)
    (folder / "pdms").mkdir()
    for name in (
        "main_ceclm_general.txt",
        "cen_general.txt",
        "tris_68.txt",
        "early_term_cen_of.txt",
        "pdms/In-the-wild_aligned_PDM_68.txt",
    ):
        shutil.copyfile(openface_models / name, folder / name)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_memory_and_the_way_back(real_size):
    """At most one stack of weights is in memory: less than the largest file on top of the imports (about 240 MB)."""
    bundle = real_size / "m.pt"
    run = subprocess.run([sys.executable, "-c", CONVERT, real_size, bundle], check=True, capture_output=True, text=True)
    assert int(run.stdout) * 1024 < LARGEST
    for path in export(bundle, real_size / "back"):
        assert filecmp.cmp(path, real_size / "patch_experts" / path.name, shallow=False)
