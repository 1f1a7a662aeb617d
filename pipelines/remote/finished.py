"""What a finished slide at a URL was made from and stored as: a rerun then fetches nothing of it.

On a disk a step is skipped when its files have the digests of its receipt, for which they are read.
Objects need not be: a storage lists their sizes and versions (ETags), and as long as those are the
ones that were listed when the slide had been stored, the bytes are those that were stored. What no
such note covers, or what is to be made from anything else, goes the way of a disk.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from pydantic_core import to_jsonable_python

from pipelines.code_version import code_version
from pipelines.job import SlideJob
from pipelines.networks import read_networks
from pipelines.records import SlideRecord, record_from
from pipelines.remote.store import list_objects, read_object, write_object
from pipelines.settings.config import NETWORKS
from wsi.atomic import digest
from wsi.errors import SlideError
from wsi.identity import content_digest
from wsi.remote import ObjectInfo

FINISHED_NAME = "finished"  # folder of the run, beside that of the slides
WHERE = {"executor", "address", "workers", "limits", "resources"}  # settings that change no result


def digest_of_wish(job: SlideJob) -> str:
    """A digest of all but the slide's bytes that its results and its record can depend on.

    More than they do: a setting counts whether or not a step reads it.

    Raises
    ------
    ModelError
        If a network is not what its card says.
    """
    mask = job.entry.ref.mask
    wish = {
        "code_version": code_version(),
        "entry": job.entry,
        "mask": digest(mask) if mask is not None and mask.exists() else None,
        "config": job.config.model_dump(mode="json", exclude=WHERE | {*NETWORKS, "also"}),
        "networks": read_networks(job.config),
    }
    text = json.dumps(to_jsonable_python(wish, fallback=str), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def note_finished(
    job: SlideJob, record: SlideRecord, *, wish: str, source: str | None, sizes: Mapping[str, int]
) -> None:
    """Note what a slide, just stored, was made from, and the versions of its objects.

    Where the storage lists other sizes, or no versions, or a network was replaced meanwhile,
    nothing is noted: the next run will look for itself.

    Parameters
    ----------
    wish
        `digest_of_wish` before the work.
    source
        Digest of the slide in its receipts.
    sizes
        Bytes of the files that were stored, by name.

    Raises
    ------
    RayPathError
        If the storage does not answer, or does not let us; or a network is gone.
    """
    stored = list_objects(job.folder)
    is_ours = {name: said.size for name, said in stored.items()} == sizes
    has_versions = all(said.version for said in stored.values())
    if is_ours and has_versions and wish == digest_of_wish(job):
        note = {
            "wish": wish,
            "input": source,
            "objects": _as_noted(stored),
            "record": record.as_dict(),
        }
        write_object(_path(job), json.dumps(note).encode())


def finished_record(
    job: SlideJob, stored: Mapping[str, ObjectInfo], *, wish: str
) -> SlideRecord | None:
    """The record of a slide that is finished already; None where that is not known.

    It is if the same is wanted of the same bytes, and `stored`, all objects of the slide, are those
    that were noted.

    Raises
    ------
    OutputError
        If the storage does not answer, or does not let us.
    """
    content = read_object(_path(job))
    if content is None:
        return None
    try:
        note = json.loads(content)
        record = record_from(note["record"])
        noted = note["wish"], note["objects"], note["input"]
    except (ValueError, LookupError, TypeError):
        return None  # another version's, or damaged: it only costs the look
    if record.slide_id != job.entry.ref.slide_id or noted[:2] != (wish, _as_noted(stored)):
        return None
    try:
        source = content_digest(job.entry.ref.path)
    except (SlideError, FileNotFoundError):
        return None  # what is wrong with the slide is said where it is opened
    return _reused(record) if source == noted[2] else None


def _path(job: SlideJob) -> Path:
    return job.folder.parent.parent / FINISHED_NAME / f"{job.folder.name}.json"


def _as_noted(stored: Mapping[str, ObjectInfo]) -> dict[str, dict[str, int | str]]:
    return {name: asdict(said) for name, said in sorted(stored.items())}


def _reused(record: SlideRecord) -> SlideRecord:
    """The record of a run that did nothing to the slide, from the one of the run that did it."""
    dealt_with = (record.n_tiles, record.n_invalid_tiles, record.n_excluded_tiles)
    has_tiles = record.n_tiles is not None
    return replace(
        record,
        n_reused_tiles=sum(n or 0 for n in dealt_with) if has_tiles else None,
        waited_s=0.0 if has_tiles else None,
        worked_s=0.0 if has_tiles else None,
        seconds=dict.fromkeys(record.seconds, 0.0),
        reused=tuple(record.seconds),
    )
