"""The run's own files: kept in a local folder by its driver, and stored now and then.

While the run works these are what `raypath status` reads, at most `STORED_EVERY_S` old. Objects
cannot be appended to: each time, the files that changed are stored anew.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.receipts import RECEIPT_NAME
from pipelines.remote.store import remove_objects, store_files
from pipelines.remote.workplace import local_folder
from pipelines.runfolder import RECORDS_NAME
from wsi.atomic import TMP_MARK, remove
from wsi.remote import is_remote

STORED_EVERY_S = 5.0


@contextmanager
def kept_at(out: Path) -> Iterator[Path]:
    """A folder for the own files of a run in `out`: that folder, or a local one if it is a URL.

    What is in the local folder is stored when the context ends, also where it ends with an error.

    Raises
    ------
    OutputError
        If they cannot be stored.
    """
    if not is_remote(out):
        yield out
        return
    kept = _Kept(url=out, folder=local_folder(out))
    remove(kept.folder)
    kept.folder.mkdir(parents=True)
    # The verdicts of an earlier run are not those of this one.
    remove_objects(out, [RECORDS_NAME, RECEIPT_NAME])
    thread = threading.Thread(target=kept.store_until_ended, name="storing", daemon=True)
    thread.start()
    try:
        yield kept.folder
    finally:
        kept.ended.set()
        thread.join()
        kept.store()
        remove(kept.folder)


@dataclass(slots=True, kw_only=True)
class _Kept:
    url: Path
    folder: Path
    ended: threading.Event = field(default_factory=threading.Event)
    _stored: dict[str, tuple[int, int]] = field(default_factory=dict)

    def store(self) -> None:
        """Store the files that changed since the last time, the receipt last."""
        now = {
            file.name: (file.stat().st_size, file.stat().st_mtime_ns)
            for file in self.folder.iterdir()
            if file.is_file() and not file.name.startswith(TMP_MARK)
        }
        changed = {name for name, state in now.items() if self._stored.get(name) != state}
        store_files(self.folder, sorted(changed - {RECEIPT_NAME}), self.url)
        store_files(self.folder, sorted(changed & {RECEIPT_NAME}), self.url)
        self._stored = now

    def store_until_ended(self) -> None:
        while not self.ended.wait(STORED_EVERY_S):
            try:
                self.store()
            except OSError:
                # The next time may come through; the last time it has to.
                continue
