"""A training on small bags computes with one thread, and leaves torch as it was."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipelines.mil import threads
from pipelines.mil.cohort import read_cohort
from pipelines.mil.threads import fitting_threads


@pytest.mark.parametrize(("few", "inside"), [(1000, 1), (10, 3)])
def test_threads_follow_the_size_of_the_bags(
    make_cohort: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    few: int,
    inside: int,
) -> None:
    monkeypatch.setattr(threads, "FEW_TILES", few)
    files = make_cohort()  # slides of 12 to 23 tiles
    cohort = read_cohort(files.features, files.labels, positive=None, folds=2)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with fitting_threads(cohort):
            assert torch.get_num_threads() == inside
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
