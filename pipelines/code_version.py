"""Which code made a result: a part of what decides whether it is made again."""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import distill
import pipelines
import wsi


@cache
def code_version() -> str:
    """The package's version and a digest of the sources that make results."""
    total = hashlib.sha256()
    for package in (wsi, distill, pipelines):
        root = Path(package.__path__[0])
        for file in sorted(root.rglob("*.py")):
            total.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return f"{version('raypath')}+{total.hexdigest()[:12]}"
