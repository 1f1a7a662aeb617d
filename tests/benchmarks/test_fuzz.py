"""Mutated files give typed failures; what must not be is seen."""

import ctypes
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fuzz import pool
from benchmarks.fuzz.mutate import ANY_BYTES, json_tree, tree
from benchmarks.fuzz.pool import Case, run_cases
from benchmarks.fuzz.subjects import Subject, make_subjects
from wsi.errors import UnsupportedSlideError

CASES = 200


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, ...]:
    return make_subjects(tmp_path_factory.mktemp("good"), None)


def test_what_is_not_mutated_is_used_without_failure(
    subjects: tuple[Subject, ...], tmp_path: Path
) -> None:
    for subject in subjects:
        subject.use(subject.seed, tmp_path / subject.name)


@pytest.mark.slow
def test_mutated_files_succeed_or_fail_by_type(
    subjects: tuple[Subject, ...], tmp_path: Path
) -> None:
    cases = [Case(subject=subjects[n % len(subjects)], seed=f"test/{n}") for n in range(CASES)]
    findings = list(run_cases(cases, tmp_path, workers=2))
    assert len(findings) == CASES
    assert [finding for finding in findings if finding.is_defect] == []
    kinds = Counter(finding.kind for finding in findings)
    assert kinds["ok"] > CASES * 0.1
    assert kinds.total() - kinds["ok"] > CASES * 0.2


def leave_it(path: Path, rng: random.Random) -> None:
    """No mutation."""


def crash(path: Path, out: Path) -> None:
    ctypes.string_at(0)


def hang(path: Path, out: Path) -> None:
    while True:
        pass


def fill_the_memory(path: Path, out: Path) -> None:
    bytearray(pool.MEMORY_BYTES)


def stumble(path: Path, out: Path) -> None:
    raise KeyError("width")


def write_beside(path: Path, out: Path) -> None:
    (out.parent / "elsewhere").touch()


def write_inside(path: Path, out: Path) -> None:
    out.mkdir()
    (out / "result").touch()


def refuse(path: Path, out: Path) -> None:
    raise UnsupportedSlideError("not a slide")


@pytest.mark.slow
def test_what_must_not_be_is_seen(tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.write_bytes(b"good")
    uses: dict[Callable[[Path, Path], None], str] = {
        crash: "crashed",
        hang: "hung",
        fill_the_memory: "memory",
        stumble: "untyped",
        write_beside: "escaped",
        write_inside: "ok",
        refuse: "unsupported",
    }
    cases = [
        Case(subject=Subject(name=u.__name__, seed=seed, spoil=leave_it, use=u), seed="0")
        for u in uses
    ]
    found = {f.case.subject.name: f.kind for f in run_cases(cases, tmp_path / "c", workers=2)}
    assert found == {use.__name__: kind for use, kind in uses.items()}


@pytest.mark.parametrize("mutate", ANY_BYTES)
def test_the_same_seed_gives_the_same_file(mutate: Callable[[bytes, random.Random], bytes]) -> None:
    good = bytes(range(256)) * 8
    made = [mutate(good, random.Random(seed)) for seed in range(50)]
    assert made == [mutate(good, random.Random(seed)) for seed in range(50)]
    assert len(set(made)) > 25


def test_a_tree_changes_in_one_place() -> None:
    good = {"a": [1, {"b": "c"}], "d": 2.5}
    changed = [tree(good, random.Random(seed)) for seed in range(100)]
    assert good == {"a": [1, {"b": "c"}], "d": 2.5}
    assert sum(value != good for value in changed) > 80
    assert json_tree(b"\xff no JSON", random.Random(0)) != b"\xff no JSON"
