"""Slides that lie behind a URL: how they are named, and what fetches them.

fsspec does the fetching because one interface then serves S3, Google Cloud, plain web servers and
memory, with the settings and credentials people have for it already. OME-Zarr is read where it is;
slides that are one file are fetched first, see `wsi.fetched`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from wsi.errors import UnreachableSlideError, UnsupportedSlideError

PACKAGES = {  # what fsspec asks for, by scheme
    "s3": "s3fs",
    "gs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "memory": "fsspec",
}
CLIENTS = frozenset(  # packages whose errors are a storage's, or of the way to it
    (
        "aiobotocore",
        "aiohttp",
        "botocore",
        "fsspec",
        "gcsfs",
        "google",
        "requests",
        "s3fs",
        "urllib3",
    )
)
GONE = (404, 410)  # answers of a web server
VERSION_KEYS = ("etag", "md5hash", "content-md5", "last-modified", "lastmodified", "mtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What a storage says of an object: its bytes, and its ETag or time of change."""

    size: int
    version: str


def slide_path(text: str | Path) -> Path:
    """A path from what a person wrote: a local one, or a `upath.UPath` for a URL.

    ``file://`` becomes local. A `UPath` pickles, compares and joins as a `Path` does.

    Raises
    ------
    UnsupportedSlideError
        If no file can be called so, the URL's scheme is none of `PACKAGES`, or it holds what must
        not be copied into results: a password, a web address's token or query.
    """
    if not isinstance(text, str):
        return text
    if "\0" in text:
        raise UnsupportedSlideError(f"{text!r}: no path holds the character NUL")
    if "://" not in text:
        return Path(text)
    parts = urlsplit(text)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # without secrets
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise UnsupportedSlideError(
                f"{shown}: file:// names a file of this machine from its root on, as in "
                "file:///data/a.svs; leave file:// out for any other path"
            )
        return Path(unquote(parts.path))
    if parts.scheme not in PACKAGES:
        raise UnsupportedSlideError(
            f"{shown}: slides are read from {', '.join(f'{s}://' for s in PACKAGES)} and file://"
        )
    is_web = parts.scheme in ("http", "https")
    if parts.password is not None or (is_web and parts.username is not None):
        raise UnsupportedSlideError(
            f"{shown}: the URL holds a password or a token (what stands before the @), which would "
            "be copied into the results; leave it to the environment or to fsspec's configuration"
        )
    if is_web and not {"?", "#"}.isdisjoint(text):
        raise UnsupportedSlideError(
            f"{shown}: the URL holds a query, as presigned ones do (what follows ? or #): it would "
            "be copied into the results, and it expires; download it first, or give the "
            "s3:// URL, with credentials in the environment"
        )
    from upath import UPath

    url = parts.scheme + text[len(parts.scheme) :].rstrip("/")  # fsspec knows small letters only
    return cast(Path, UPath(url))  # not one by inheritance in all versions


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


def object_info(path: Path) -> ObjectInfo:
    """Ask for an object at a URL.

    Raises
    ------
    FileNotFoundError
        If there is none; what else is raised depends on the file system.
    UnreachableSlideError
        If the server does not say how large it is.
    """
    said: Mapping[str, Any] = file_system(path).info(str(path))
    if said.get("type") == "directory":
        raise FileNotFoundError(f"{path} is a folder")
    if said.get("size") is None:
        raise UnreachableSlideError(f"{path}: the server does not say how large it is")
    return ObjectInfo(size=int(said["size"]), version=object_version(said))


def is_of_storage(error: Exception) -> bool:
    """Whether a storage, or the way to it, raised an error; any other is a defect of ours.

    File systems turn most of what their clients raise into an `OSError`. What they let through
    (no credentials, a connection that ends in the middle of an answer) is told by the package that
    its type is of, so that none has to be installed.
    """
    return isinstance(error, OSError) or not CLIENTS.isdisjoint(_packages(error))


def is_gone(error: Exception) -> bool:
    """Whether what a file system raised means that there is nothing at a URL.

    A web server's refusals, and failures on the way to it, all come as a file that is not there,
    with their cause.
    """
    cause = error.__cause__
    is_of_web = isinstance(cause, TimeoutError) or "aiohttp" in _packages(cause)
    return isinstance(error, FileNotFoundError) and (
        not is_of_web or getattr(cause, "status", None) in GONE
    )


def object_version(said: Mapping[str, Any]) -> str:
    """What tells one version of an object from the next, of a file system's `info`."""
    versions = {str(key).lower(): value for key, value in said.items()}
    found = next((str(versions[key]) for key in VERSION_KEYS if versions.get(key)), "")
    return found or str(said.get("created", ""))


def _packages(error: BaseException | None) -> set[str]:
    """The packages that an error's type, and those it is one of, are from."""
    return {base.__module__.partition(".")[0] for base in type(error).__mro__}
