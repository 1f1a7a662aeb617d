"""What is said of a slide that this user may not read, or that no disk can have."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsi.errors import SlideError, SlideNotFoundError, SlidePermissionError

# A name that is too long, and links that lead to each other.
NO_FILE = frozenset({errno.ENAMETOOLONG, errno.ELOOP})


def is_folder(path: Path) -> bool:
    """Whether there is a folder at `path`.

    False, not an error as by `Path.is_dir`, where rights are missing: one slide that may not be
    read is to fail when it is opened, and not the whole run before.
    """
    return os.path.isdir(path)


@contextmanager
def explained_access(slide: Path) -> Iterator[None]:
    """Say which slide it was that could not be looked at.

    Raises
    ------
    SlidePermissionError
        Instead of the system's PermissionError.
    SlideNotFoundError
        Where nothing can be at such a path.
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
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        raise SlideNotFoundError(
            f"no slide at {slide} ({error.strerror}): check the path"
        ) from error
