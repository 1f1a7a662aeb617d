"""One process at a time writes a pyramid."""

import fcntl
import os

from pipelines.conversion.tasks import GO_ON, ConvertJob
from pipelines.errors import UsageError
from pipelines.output import explained_output
from wsi.errors import SlideNotFoundError
from wsi.remote import is_remote
from wsi.rights import explained_access


def lock_partial(job: ConvertJob) -> int:
    """Take the folder of a slide's unfinished pyramid for this process; a descriptor to close.

    Raises
    ------
    SlideNotFoundError, SlidePermissionError, UsageError, OutputError
        If there is nothing to convert, or nowhere to put it.
    """
    source = job.ref.path
    is_local = not is_remote(source)
    with explained_access(source):
        if is_local and not source.exists():
            raise SlideNotFoundError(f"no slide at {source}: check the path")
    if is_local and source.is_dir() and job.path.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{job.path} lies inside the slide {source}: choose another folder")
    if job.path.exists() and not (job.overwrite or job.resume):
        raise UsageError(
            f"{job.path} exists: use --overwrite to replace it, --resume to keep it if it is "
            "complete, or another folder"
        )
    with explained_output(job.path, go_on=GO_ON):
        job.partial.mkdir(parents=True, exist_ok=True)
    lock = os.open(job.partial, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise UsageError(
            f"{job.path} is being written by another process: wait for it, or choose another folder"
        ) from error
    return lock
