"""Arrays that need not fit into memory."""

import math
import os
import tempfile
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wsi.errors import NO_ROOM, DiskFullError

IN_MEMORY = 4 << 30  # bytes up to which an array is in memory


def room_for(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of arbitrary content: in memory, or in a file where it is larger than `IN_MEMORY`.

    The file lies in the temporary folder (``TMPDIR``) and has no name, so that its room is free
    again however the process ends. The system keeps as much of it in memory as there is.

    Raises
    ------
    DiskFullError
        If the temporary folder has no room for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= IN_MEMORY:
        return np.empty(shape, dtype)
    folder = tempfile.gettempdir()
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            # A hole that is written to when the disk is full would end the process.
            take_room(file, size)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise DiskFullError(
                f"an array of {size / 2**30:.1f} GiB does not fit into {folder}: point TMPDIR to a "
                "disk with that much room, or ask for less"
            ) from error
        return np.memmap(file, dtype, mode="r+", shape=shape)


def take_room(file: IO[bytes], size: int) -> None:
    """Give an empty file its `size` bytes of the disk now, rather than as they are written.

    Raises
    ------
    OSError
        If there are no more, with one of `NO_ROOM`.
    """
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)  # other systems only count it
