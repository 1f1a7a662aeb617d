"""A run that is asked to end does so cleanly, says how to go on, and goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.journal import read_journal
from pipelines.records import read_records
from wsi.testing import Specimen, write_slide

PATIENCE_S = 250


def wait_for(sign: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not sign():
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline, "the run does not begin"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("executor", "number", "code"),
    [
        ("serial", signal.SIGINT, 130),
        ("ray", signal.SIGTERM, 143),
    ],
)
def test_a_signal_ends_a_run_which_can_then_be_finished(
    raypath: Callable[..., Any], tmp_path: Path, executor: str, number: signal.Signals, code: int
) -> None:
    paths = [
        write_slide(
            tmp_path / f"{name}.svs", Specimen(seed=seed, width=500, height=500 + 100 * seed)
        )
        for seed, name in enumerate("abc")
    ]
    out = tmp_path / "out"
    words = ["run", *map(str, paths), "-o", str(out), "--executor", executor]
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("raypath")), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: any(read_journal(out / "records.jsonl")), process)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, said
    assert f"ended by {number.name}" in said
    assert "same command again" in said
    assert "Traceback" not in said
    status = json.loads(raypath("status", out, "--json").out)
    assert status["state"] == "interrupted"
    assert 1 <= status["done"] < status["total"] == 3
    assert not (out / "slides.parquet").exists()
    finished = raypath(*words)
    assert finished.code == 0, finished.err
    assert [r.verdict for r in read_records(out / "slides.parquet")] == ["ok"] * 3
    shown = raypath("status", out, "--watch").out
    assert "3 of 3 slides" in shown
    assert "finished" in shown
