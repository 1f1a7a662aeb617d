"""Slides that lie behind a URL: how they are named, and what fetches them.

fsspec does the fetching because one interface then serves S3, Google Cloud, plain web servers and
memory, with the settings and credentials people have for it already. Only OME-Zarr can be read
this way: the other formats need random access to one file through C libraries.
"""

from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from wsi.errors import UnsupportedSlideError

PACKAGES = {  # what fsspec asks for, by scheme
    "s3": "s3fs",
    "gs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "memory": "fsspec",
}


def slide_path(text: str | Path) -> Path:
    """A path from what a person wrote: a local one, or a `upath.UPath` for a URL.

    ``file://`` becomes local. A `UPath` pickles, compares and joins as a `Path` does.

    Raises
    ------
    UnsupportedSlideError
        If the URL's scheme is none of `PACKAGES`, or it holds a password.
    """
    if not isinstance(text, str):
        return text
    if "://" not in text:
        return Path(text)
    parts = urlsplit(text)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme not in PACKAGES:
        raise UnsupportedSlideError(
            f"{text}: slides are read from {', '.join(f'{s}://' for s in PACKAGES)} and file://"
        )
    if parts.password is not None:
        raise UnsupportedSlideError(
            f"{parts.scheme}://{parts.hostname}: the URL holds a password, which would be copied "
            "into the results; leave it to the environment or to fsspec's configuration"
        )
    from upath import UPath

    return cast(Path, UPath(text.rstrip("/")))  # not one by inheritance in all versions


def is_remote(path: Path) -> bool:
    """Whether a path from `slide_path` is a URL."""
    return "://" in str(path)


def file_system(path: Path) -> Any:
    """The fsspec file system of a URL.

    Raises
    ------
    UnsupportedSlideError
        If its package is not installed.
    """
    url: Any = path
    try:
        return url.fs
    except ImportError as error:
        scheme = str(path).partition("://")[0]
        raise UnsupportedSlideError(
            f"{path}: reading {scheme}:// needs a package: pip install {PACKAGES[scheme]} ({error})"
        ) from error
