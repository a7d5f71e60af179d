"""The program in processes that are killed at chosen moments; one that has imported everything gives birth to each.

``python -m tests.cli.killing`` is that one: it reads orders, a JSON list a line, and answers with a line each.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
# Seconds; a program that takes longer to end hangs
PATIENCE = 120.0


@dataclass
class Ended:
    """How a program ended."""

    code: int  # the exit code, or minus the signal
    stderr: str
    seconds: float


class Nursery:
    """Starts programs without the seconds that their imports take."""

    def __init__(self, log: Path) -> None:
        command = [sys.executable, "-m", "tests.cli.killing"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.log, self._pipes = log, {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **self._pipes)

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate(timeout=PATIENCE)

    def run(
        self, words: Sequence[object], *, kill: tuple[int, float] | None = None, prepare: str = "", limit: int = 0
    ) -> Ended:
        """Runs the program.

        Args:
            words: Its command line.
            kill: A signal, and after how many seconds it is sent.
            prepare: ``module:function`` that is called first.
            limit: Bytes beyond which no file can grow, 0 for none.
        """
        begin = time.monotonic()
        pid = self._ask("start", [str(word) for word in words], prepare, limit, str(self.log))
        if kill is not None:
            time.sleep(kill[1])
            # Not reaped before it is waited for: the number is its own
            os.kill(pid, kill[0])
        code = self._ask("wait", pid)
        return Ended(code, self.log.read_text(), time.monotonic() - begin)

    def _ask(self, *order: Any) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def serve() -> None:
    """Carries out orders until there are no more."""
    from clnf_torch.cli.main import app

    for module in ("av", "cv2", "pyarrow.parquet", "tests.media.videos", "clnf_torch.cli.videos.run"):
        importlib.import_module(module)
    for line in sys.stdin:
        match json.loads(line):
            case ["start", words, prepare, limit, log]:
                pid = os.fork()
                if not pid:
                    _become(app, words, prepare, limit, log)
                print(pid, flush=True)
            case ["wait", pid]:
                _, status = os.waitpid(pid, 0)
                print(os.waitstatus_to_exitcode(status), flush=True)


def _become(app: Any, words: list[str], prepare: str, limit: int, log: str) -> None:
    """Makes this process the program; does not return."""
    with open(os.devnull, "rb") as nothing, open(log, "wb") as stderr:
        os.dup2(nothing.fileno(), 0)
        os.dup2(stderr.fileno(), 1)
        os.dup2(stderr.fileno(), 2)
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if limit:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if prepare:
            module, _, function = prepare.partition(":")
            getattr(importlib.import_module(module), function)()
        app(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
