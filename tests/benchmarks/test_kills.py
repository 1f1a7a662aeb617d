"""A real run survives kills of driver, workers and Ray."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.kills.__main__ import count_kills, main, run_trials
from benchmarks.kills.processes import busy_workers, descendants, kill, raylets, title
from benchmarks.kills.trials import Trial
from benchmarks.kills.workload import Workload
from cluster.ray_executor import RayExecutor


@pytest.mark.slow
def test_nothing_is_lost_to_kills_of_drivers_workers_and_ray(tmp_path: Path) -> None:
    kinds = ("driver", "worker", "ray")

    def killed(done: Sequence[Trial]) -> set[str]:
        return {trial.what for trial in done if trial.kills}

    trials = run_trials(
        tmp_path,
        kinds=kinds,
        seed=3,
        # A run may end before its kill is due: its kind has another turn.
        is_enough=lambda done: (
            (count_kills(done) >= 5 and len(killed(done)) == len(kinds)) or len(done) >= 9
        ),
    )
    assert count_kills(trials) >= 5
    assert len(killed(trials)) == len(kinds)
    assert [trial for trial in trials if not trial.is_clean] == []


@pytest.mark.slow
def test_nothing_is_lost_with_a_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--of", "node", "--kills", "1"]) == 0
    assert "| nodes of a cluster |" in capsys.readouterr().out


def test_only_what_is_at_a_task_is_taken_for_a_worker() -> None:
    with RayExecutor(workers=1) as executor:
        assert [outcome.result for outcome in executor.map(len, [[1]])] == [1]
        assert busy_workers(os.getpid()) == raylets(os.getpid()) == []
        at_work = executor.map(time.sleep, [3.0])
        worker = threading.Thread(target=lambda: list(at_work))
        worker.start()
        while not (busy := busy_workers(os.getpid())):
            time.sleep(0.01)
        assert title(busy[0]).startswith("ray::")
        assert len(raylets(os.getpid())) == 1
        worker.join()


def test_what_is_lost_differs_or_is_repeated_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"a": "1", "b": "2", "new": "3"}
    monkeypatch.setattr("benchmarks.kills.trials.results", lambda out: found)
    trial = Trial(what="driver")
    trial.compare(tmp_path, {"a": "1", "b": "other", "gone": "4"})
    assert (trial.lost, trial.differing, trial.is_clean) == (["gone"], ["b", "new"], False)
    assert not Trial(what="driver", repeated=[("slide", "embed")]).is_clean
    clean = Trial(what="driver")
    clean.compare(tmp_path, found)
    assert clean.is_clean


def test_only_descendants_are_found_and_ended() -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as process:
        while not (found := descendants(process.pid)):
            pass
        assert found[0] in descendants(os.getpid())
        assert os.getpid() not in descendants(process.pid)
        assert title(found[0]) in (sys.executable, "")
        assert kill(found[0])
        process.wait()
        assert not kill(found[0])
    assert title(found[0]) == ""


def test_the_command_names_slides_and_networks(tmp_path: Path) -> None:
    command = Workload(folder=tmp_path).command(tmp_path / "out", "--executor", "serial")
    assert command[1:3] == ["run", str(tmp_path / "slides")]
    assert command[-2:] == ["--executor", "serial"]
