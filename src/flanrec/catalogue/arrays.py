"""Arrays in one uncompressed ``.npz`` file, written atomically and read by memory-mapping.

``numpy.load`` ignores ``mmap_mode`` for archives. The members of an uncompressed archive are plain
``.npy`` files at a known offset, so they can be mapped where they lie.
"""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flanrec.errors import CheckpointError

_LOCAL_HEADER = struct.Struct("<26x2H")


def save_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write named arrays to ``path``; a reader sees the old file or the whole new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_arrays(path: Path, expected: dict[str, int]) -> dict[str, NDArray[Any]]:
    """Map the arrays of a file that :func:`save_arrays` wrote, read-only.

    Parameters
    ----------
    path : Path
    expected : name -> number of dimensions
        The arrays that must be there.

    Raises
    ------
    CheckpointError
        If the file is missing, is no such archive, or lacks an expected array.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            arrays = {name: _map_member(path, file, archive.getinfo(f"{name}.npy")) for name in expected}
    except (OSError, KeyError, ValueError, EOFError, struct.error, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} cannot be read as an array file ({error}); save it again") from error
    for name, dimensions in expected.items():
        if arrays[name].ndim != dimensions:
            raise CheckpointError(f"{path}: array {name!r} has shape {arrays[name].shape}; save it again")
    return arrays


def _map_member(path: Path, file: Any, member: zipfile.ZipInfo) -> NDArray[Any]:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    file.seek(member.header_offset)
    name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    file.seek(name_length + extra_length, os.SEEK_CUR)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"{member.filename} has array format {version}")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds Python objects")
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")
