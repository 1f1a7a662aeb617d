"""Records on standard output, for whoever reads them."""

import os
import sys

import pytest

from pipelines.cli.progress import slide_progress
from pipelines.records import SlideRecord


def test_a_reader_who_has_seen_enough_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    record = SlideRecord(slide_id="a", path="a.svs", verdict="ok")
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as out, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        with slide_progress(3, as_json=True, unit="tiles") as report:
            report(record)
            assert b'"slide_id": "a"' in os.read(reader, 10000)
            os.close(reader)
            report(record)
            report(record)
