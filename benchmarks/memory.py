"""Memory of a process that loads the real-size model or our own and fits, above `import torch`; and loading times."""

import json
import subprocess
import sys

from rich.table import Table

from benchmarks.material import ROOT, real_size_bundle
from benchmarks.tables import table
from clnf_torch.models.bundle import default_bundle

PROBE = """
import json, sys, time
import torch
from benchmarks.peak import peak
bare = peak()
import clnf_torch
from benchmarks.material import boxes, photograph
frames = photograph()
begin = time.perf_counter()
detector = clnf_torch.load(sys.argv[1])
loading = time.perf_counter() - begin
with torch.inference_mode():
    detector.fit(frames, boxes(int(sys.argv[2])), multi_view=sys.argv[3] == "multi-view", parts=False, validate=False)
print(json.dumps([bare, peak() - bare, loading]))
"""


def report() -> list[Table]:
    """The tables of this benchmark."""
    rows = []
    bundles = {"float32": real_size_bundle(), "float16": real_size_bundle(half=True), "our own model": default_bundle()}
    for model, bundle in bundles.items():
        for faces, views in ((1, "frontal"), (1, "multi-view"), (64, "frontal"), (64, "multi-view")):
            command = [sys.executable, "-c", PROBE, str(bundle), str(faces), views]
            printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
            bare, above, loading = json.loads(printed)
            name = f"{model}, {faces} faces, {views}"
            rows.append((name, f"{above:.0f}", f"{bare:.0f}", f"{loading:.2f}"))
    columns = ("model and work", "peak MB above import torch", "import torch MB", "loading s")
    return [table("Memory of the process, and loading", columns, rows)]
