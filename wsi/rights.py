"""What is said of a slide that this user may not read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsi.errors import SlideError, SlidePermissionError


def is_folder(path: Path) -> bool:
    """Whether there is a folder at `path`.

    False, not an error as by `Path.is_dir`, where rights are missing: one slide that may not be
    read is to fail when it is opened, and not the whole run before.
    """
    return os.path.isdir(path)


@contextmanager
def explained_rights(slide: Path) -> Iterator[None]:
    """Say which slide it was that could not be looked at for want of rights.

    Raises
    ------
    SlidePermissionError
        Instead of the system's PermissionError.
    """
    try:
        yield
    except SlideError:
        raise
    except PermissionError as error:
        raise SlidePermissionError(
            f"{slide} may not be read by this user: change the permissions of the file and of the "
            "folders above it"
        ) from error
