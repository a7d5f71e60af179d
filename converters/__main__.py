"""``python -m clnf_torch.converters MODEL_DIR OUT.pt``: converts where the command line is not installed."""

import argparse
import sys

from clnf_torch.converters import ConversionError, convert


def main(arguments: list[str] | None = None) -> int:
    """Runs the converter.

    Args:
        arguments: The command line's words, or None for this process's.

    Returns:
        The exit code: 0, or 2 when the source cannot be converted.
    """
    parser = argparse.ArgumentParser(prog="python -m clnf_torch.converters", description="Convert an OpenFace model.")
    parser.add_argument("source", help="model directory or main_*.txt")
    parser.add_argument("out", help="bundle to write (.pt)")
    parser.add_argument("--half", action="store_true", help="store expert weights as float16")
    options = parser.parse_args(arguments)
    try:
        report = convert(options.source, options.out, half=options.half)
    except ConversionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in report.skipped:
        print(f"skipped {line.entry}: {line.reason}")
    print(f"{report.main} -> {report.out}, {report.bytes} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
