import os

import pytest

from wsi.cpus import usable_cpus


@pytest.mark.parametrize(("share", "most"), [("1", 1), ("0", 1), ("100000", 10_000), ("x", 10_000)])
def test_the_share_a_scheduler_gives_is_kept(
    monkeypatch: pytest.MonkeyPatch, share: str, most: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    alone = usable_cpus()
    assert 1 <= alone <= (os.cpu_count() or 1)
    monkeypatch.setenv("OMP_NUM_THREADS", share)
    assert usable_cpus() == min(alone, most)
