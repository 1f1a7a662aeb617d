"""Files that other processes replace."""

from pathlib import Path

import pytest

from pipelines.cli import following as module
from pipelines.cli.following import following


def test_what_is_written_meanwhile_is_told_and_what_was_there_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    path, told = tmp_path / "curves.csv", list[str]()
    path.write_text("of an earlier training")
    with following(path, lambda of: told.append(of.read_text())):
        pass
    assert told == []
    with following(path, lambda of: told.append(of.read_text())):
        path.unlink()
        (tmp_path / "new").write_text("new")
        (tmp_path / "new").rename(path)
    assert told == ["new"]  # at the latest in the end
