"""Time and memory of converting the real-size model."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.table import Table

from benchmarks.material import ROOT, real_size_source
from benchmarks.tables import table

PROBE = """
import json, sys, time
from benchmarks.peak import peak
begin = time.perf_counter()
from clnf_torch.converters import convert
convert(sys.argv[1], sys.argv[2], half=sys.argv[3] == "half")
print(json.dumps([time.perf_counter() - begin, peak()]))
"""


def report() -> list[Table]:
    """The tables of this benchmark."""
    source = real_size_source()
    largest = max(path.stat().st_size for path in (source / "patch_experts").glob("cen_patches_*.dat"))
    rows = []
    for half in ("float32", "half"):
        with TemporaryDirectory() as folder:
            command = [sys.executable, "-c", PROBE, str(source), str(Path(folder) / "model.pt"), half]
            printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
            taken, peak = json.loads(printed)
            size = (Path(folder) / "model.pt").stat().st_size
        rows.append((half, f"{taken:.1f}", f"{peak:.0f}", f"{peak - largest / 2**20:.0f}", f"{size / 2**20:.0f}"))
    columns = ("weights", "seconds, import included", "peak MB", "above the largest file, MB", "bundle MB")
    return [table("Conversion of 430 MB", columns, rows)]
