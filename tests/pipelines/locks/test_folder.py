"""Who holds a run's folder, with real processes, other machines, and clocks that lie."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.locks import folder as module
from pipelines.locks import holder
from pipelines.locks.folder import LOCK_NAME, HeldError, LockLostError, held
from pipelines.locks.holder import Holder
from pipelines.processes import start_of

HOLD = """
import sys, time
from pathlib import Path
from pipelines.locks.folder import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""
# Waits for the start, tries once, and holds what it got until all have tried.
RACE = """
import sys, time
from pathlib import Path
from pipelines.locks.folder import HeldError, held
folder, start = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
while not start.exists():
    time.sleep(0.0005)
try:
    with held(folder):
        print("held", flush=True)
        sys.stdin.readline()
except HeldError:
    print("refused", flush=True)
    sys.stdin.readline()
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def on_machine(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """From now on this process is on a machine of that name."""
    for of in (module, holder):
        monkeypatch.setattr(of, "process_space", lambda: name)


@pytest.fixture
def holding(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds `tmp_path`."""
    process = start(HOLD, tmp_path, 60)
    assert line_of(process) == "held"
    with process:
        yield process
        process.kill()


def write_lock(folder: Path, **changed: Any) -> Path:
    """A lock's file as some process left it."""
    said = {name: getattr(Holder.me(), name) for name in Holder.__slots__}
    path = folder / LOCK_NAME
    path.write_text(json.dumps(said | {"beat": 3, "token": "theirs"} | changed))
    return path


def test_the_second_is_told_who_holds_it(tmp_path: Path, holding: subprocess.Popen[str]) -> None:
    with pytest.raises(HeldError) as raised, held(tmp_path):
        pass
    message = str(raised.value)
    assert f"process {holding.pid} on {os.uname().nodename}" in message
    assert f"remove {tmp_path / LOCK_NAME}" in message
    assert json.loads((tmp_path / LOCK_NAME).read_text())["since"] in message


def test_a_killed_process_holds_nothing(tmp_path: Path, holding: subprocess.Popen[str]) -> None:
    os.kill(holding.pid, signal.SIGKILL)  # not waited for: it stays as a zombie
    for _ in range(1000):
        if start_of(holding.pid) is None:
            break
        time.sleep(0.01)
    left_over = tmp_path / ".tmp-1234-run.json"
    left_over.touch()
    with held(tmp_path) as mine:
        assert json.loads(mine.path.read_text())["pid"] == os.getpid()
        assert not left_over.exists()
    assert list(tmp_path.iterdir()) == []


def test_another_process_with_the_number_of_a_dead_one_does_not_count(tmp_path: Path) -> None:
    write_lock(tmp_path, pid=os.getppid(), start="1")
    with held(tmp_path) as mine:
        mine.check()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("modified", [0, 4e9], ids=["long ago", "in the future"])
@pytest.mark.parametrize("content", ["", "{", '{"beat": 1}', "another machine"])
def test_silence_gives_a_lock_away_whatever_the_clocks_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, modified: float
) -> None:
    monkeypatch.setattr(module, "SILENT_S", 0.05)
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    path = write_lock(tmp_path, space="elsewhere", host="other")
    if content != "another machine":
        path.write_text(content)
    os.utime(path, (modified, modified))
    said: list[str] = []
    with held(tmp_path, say=said.append):
        assert len(said) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("modified", [0, 4e9], ids=["long ago", "in the future"])
def test_a_heartbeat_on_another_machine_keeps_it_whatever_the_clocks_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modified: float
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "BEAT_S", 0.02)
    on_machine(monkeypatch, "there")
    with held(tmp_path) as theirs:
        on_machine(monkeypatch, "here")
        ended = threading.Event()

        def shift_clock() -> None:
            while not ended.wait(0.001):
                os.utime(theirs.path, (modified, modified))

        shifting = threading.Thread(target=shift_clock)
        shifting.start()
        try:
            with pytest.raises(HeldError), held(tmp_path):
                pass
        finally:
            ended.set()
            shifting.join()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """On another machine, and given up after a twentieth of a second without a sign of life."""
    monkeypatch.setattr(module, "SILENT_S", 0.05)
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    on_machine(monkeypatch, "there")


def test_who_was_suspended_too_long_finds_out_and_leaves_the_folder(
    elsewhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(tmp_path) as suspended:
        suspended.check()
        on_machine(monkeypatch, "here")
        with held(tmp_path) as mine:
            suspended.beat()
            with pytest.raises(LockLostError, match="suspended"):
                suspended.check()
            mine.check()
            content = mine.path.read_text()
            suspended.beat()
            assert mine.path.read_text() == content


def test_who_was_suspended_until_its_successor_had_finished_finds_out_too(
    elsewhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(tmp_path) as suspended:
        on_machine(monkeypatch, "here")
        with held(tmp_path):
            pass
        suspended.beat()
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(LockLostError, match=r"lock\.json is gone"):
            suspended.check()


def test_a_disk_that_does_not_answer_takes_no_lock_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes
    answers = iter([errno.ESTALE, errno.EACCES])

    def fail(path: Path) -> bytes:
        number = next(answers, None)
        if number is not None:
            raise OSError(number, os.strerror(number), str(path))
        return read(path)

    with held(tmp_path) as mine:
        monkeypatch.setattr(Path, "read_bytes", fail)
        mine.check()
        with pytest.raises(PermissionError):
            mine.check()
        mine.check()


def test_who_gave_the_folder_up_itself_lost_nothing(tmp_path: Path) -> None:
    with held(tmp_path) as mine:
        mine.check()
    mine.check()


@pytest.mark.parametrize("left", ["nothing", "a dead one's lock"])
@pytest.mark.parametrize("attempt", range(3))
def test_of_several_at_once_one_gets_it(tmp_path: Path, left: str, attempt: int) -> None:
    folder, signal_file = tmp_path / "out", tmp_path / "start"
    folder.mkdir()
    if left != "nothing":
        write_lock(folder, pid=2**22 + 1)
    racing = [start(RACE, folder, signal_file) for _ in range(4)]
    for process in racing:
        assert line_of(process) == "ready"
    signal_file.touch()
    said = [line_of(process) for process in racing]
    for process in racing:
        process.communicate("done\n")  # closes its pipes
    assert sorted(said) == ["held", "refused", "refused", "refused"]
    assert list(folder.iterdir()) == []
