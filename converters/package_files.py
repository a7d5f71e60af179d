"""Files of a Python package, from its wheel or from the folder that it installs; nothing of it is run or imported."""

import struct
import zipfile
import zlib
from pathlib import Path

from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.files.archive_reader import ENCRYPTED, DirectoryFile
from clnf_torch.files.names import lookalike
from clnf_torch.files.reading import download_in_place, require_regular_file

ZIP_ERRORS = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error)


def read_package_file(source: Path, package: str, inside: str, most: int, remedy: str) -> bytes:
    """A file of a package.

    Args:
        source: The wheel, or the folder of the installed package.
        package: Its name.
        inside: The file, below the folder of that name.
        most: Bytes that it may have.
        remedy: For errors: what to give instead.

    Raises:
        ConversionError: It is not there, larger, or damaged.
    """
    try:
        if source.is_dir():
            if require_regular_file(source / inside) > most:
                raise ValueError(f"more than {most:,} bytes")
            return (source / inside).read_bytes()
        require_regular_file(source)
        with DirectoryFile(source) as file, zipfile.ZipFile(file) as wheel:
            entry = wheel.getinfo(f"{package}/{inside}")
            if entry.flag_bits & ENCRYPTED:
                raise ValueError("an encrypted file")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.file_size > most:
                raise ValueError(f"{entry.file_size:,} bytes, compressed by method {entry.compress_type}")
            return wheel.read(entry)
    except (OSError, LookupError, ValueError, RuntimeError, EOFError, struct.error, *ZIP_ERRORS) as error:
        near = lookalike(source)
        found = f"none ({error})" if near is None else f"none; did you mean {near.relative_to(source.parent)}?"
        expected = f"the package {package} with its file {inside}"
        if download := download_in_place(source):
            found, _, remedy = download.partition("; ")
        raise ConversionError(source, expected=expected, found=found, remedy=remedy) from error
