"""Where results may go."""

import re
from pathlib import Path

from pipelines.errors import UsageError

URL = re.compile(r"[a-z][a-z0-9+.-]+:/(?=[^/])")  # pathlib makes one slash of two


def check_local(out: Path) -> None:
    """Refuse a URL as the folder for results: writing part of a file again needs a file system.

    Raises
    ------
    UsageError
        If `out` is a URL.
    """
    scheme = URL.match(str(out))
    if scheme:
        url = str(out).replace(":/", "://", 1)
        raise UsageError(
            f"{url}: results are written to a disk, not to {scheme[0].rstrip(':/')}://; give a "
            "folder on a disk that the workers share, and copy it when the run is done "
            f"(aws s3 sync OUT {url}, or rclone copy)"
        )
