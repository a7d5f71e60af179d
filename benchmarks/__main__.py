"""``python -m benchmarks``: tables of speed, memory, conversion and face detection; and ``gpu``, all about a card."""

import sys

if sys.argv[1:2] == ["gpu"]:  # runs where torch, numpy and this repository are all there is
    from benchmarks.gpu.checkout import make_importable

    make_importable()
    from benchmarks.gpu.command import main

    sys.exit(main(sys.argv[2:]))

import typer

from benchmarks.command import main as tables

typer.run(tables)
