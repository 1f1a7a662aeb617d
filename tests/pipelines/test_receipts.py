"""Receipts: a step is done once, and again when anything that it was made from is another."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import receipts as module
from pipelines.code_version import code_version
from pipelines.receipts import RECEIPT_NAME, Receipts, read_receipts


class Workshop:
    """A step that writes `out.txt` and a folder, and counts how often it does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.times = 0

    def work(self) -> dict[str, Any]:
        self.times += 1
        (self.folder / "out.txt").write_text("result")
        (self.folder / "image").mkdir(exist_ok=True)
        (self.folder / "image" / "0").write_text("chunk")
        return {"n_tiles": 7, "score": 0.25, "names": ["é"]}

    def do(self, *, source: str = "aa", step: str = "embed", **parameters: Any) -> Receipts:
        """One run of the step with fresh receipts, as in another process."""
        receipts = Receipts(folder=self.folder, source=source)
        facts = receipts.do(step, parameters, ("out.txt", "image"), self.work)
        assert facts == {"n_tiles": 7, "score": 0.25, "names": ["é"]}
        assert list(receipts.seconds) == [step]
        return receipts


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_a_step_is_done_once(workshop: Workshop) -> None:
    assert workshop.do(mpp=0.5).reused == []
    assert workshop.do(mpp=0.5).reused == ["embed"]
    assert workshop.do(mpp=0.5).reused == ["embed"]
    assert workshop.times == 1


def test_a_new_input_or_parameter_is_new_work(workshop: Workshop) -> None:
    workshop.do(mpp=0.5, mask=None)
    for change in ({"source": "bb"}, {"mpp": 0.25}, {"mask": "cc"}, {"stride": 1}):
        before = workshop.times
        options = {"mpp": 0.5, "mask": None} | change
        assert workshop.do(**options).reused == []
        assert workshop.times == before + 1
        assert workshop.do(**options).reused == ["embed"]
    assert workshop.do(mpp=0.5, mask=None).reused == []  # only the last one is remembered


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "out.txt").unlink(),
        lambda folder: (folder / "out.txt").write_text("Result"),
        lambda folder: (folder / "image" / "0").write_text("torn"),
        lambda folder: (folder / "image" / "0").unlink(),
        lambda folder: (folder / "image" / "1").touch(),
        lambda folder: (folder / "image" / "0").rename(folder / "image" / "2"),
    ],
    ids=["gone", "changed", "chunk changed", "chunk gone", "chunk added", "chunk renamed"],
)
def test_a_changed_output_is_made_again(workshop: Workshop, harm: Callable[[Path], object]) -> None:
    workshop.do()
    harm(workshop.folder)
    assert workshop.do().reused == []
    assert workshop.times == 2
    assert (workshop.folder / "out.txt").read_text() == "result"


def test_other_code_is_new_work(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.do()
    monkeypatch.setattr(module, "code_version", lambda: "0.1.0+other")
    assert workshop.do().reused == []
    assert workshop.do().reused == ["embed"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"embed": {"input": "aa", "param',
        b"[]",
        b"null",
        b'{"embed": 3}',
        b'{"embed": []}',
        b'{"embed": {}}',
        b"\xff\xfe\x00broken",
    ],
)
def test_a_torn_receipt_only_costs_the_work_again(workshop: Workshop, content: bytes) -> None:
    workshop.do()
    (workshop.folder / RECEIPT_NAME).write_bytes(content)
    assert workshop.do().reused == []
    assert workshop.do().reused == ["embed"]


@pytest.mark.parametrize("missing", ["outputs", "facts", "input", "code_version", "parameters"])
def test_a_receipt_that_lacks_a_part_does_not_count(workshop: Workshop, missing: str) -> None:
    workshop.do()
    receipt = workshop.folder / RECEIPT_NAME
    content = json.loads(receipt.read_text())
    del content["embed"][missing]
    receipt.write_text(json.dumps(content))
    assert workshop.do().reused == []
    assert workshop.do().reused == ["embed"]


def test_work_that_fails_leaves_no_receipt(workshop: Workshop) -> None:
    def fail() -> dict[str, Any]:
        workshop.work()
        raise OSError("disk full")

    receipts = Receipts(folder=workshop.folder, source="aa")
    with pytest.raises(OSError, match="disk full"):
        receipts.do("embed", {}, ("out.txt", "image"), fail)
    assert not (workshop.folder / RECEIPT_NAME).exists()
    assert workshop.do().reused == []


def test_steps_keep_their_receipts_apart(workshop: Workshop) -> None:
    workshop.do(step="pyramid")
    workshop.do(step="embed", mpp=1)
    assert workshop.do(step="pyramid").reused == ["pyramid"]
    assert workshop.do(step="embed", mpp=2).reused == []
    assert workshop.do(step="pyramid").reused == ["pyramid"]


def test_parameters_of_any_kind_are_compared_as_they_read(workshop: Workshop) -> None:
    parameters: dict[str, Any] = {
        "mean": (0.5, 0.25),
        "model": Path("/m"),
        "name": "é",
        "none": None,
    }
    workshop.do(**parameters)
    assert workshop.do(**parameters).reused == ["embed"]
    assert workshop.do(**(parameters | {"model": Path("/n")})).reused == []


def test_facts_must_be_what_a_later_run_can_read(workshop: Workshop) -> None:
    receipts = Receipts(folder=workshop.folder, source="aa")
    with pytest.raises(TypeError):
        receipts.do("embed", {}, (), lambda: {"coords": np.zeros(3)})
    assert not (workshop.folder / RECEIPT_NAME).exists()


def test_the_folder_can_move(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Workshop(tmp_path / "a").do()
    (tmp_path / "a").rename(tmp_path / "b")
    assert Workshop(tmp_path / "b").do().reused == ["embed"]


def test_the_code_has_a_version_and_a_digest() -> None:
    number, _, digest = code_version().partition("+")
    assert number.count(".") == 2
    assert len(digest) == 12
    assert code_version() == code_version()


def leave(folder: Path, step: str, source: str, *names: str, **parameters: Any) -> Receipts:
    """What a run that did this one step leaves: files that hold the step's name."""

    def work() -> dict[str, Any]:
        for name in names:
            (folder / name).write_text(step)
        return {}

    receipts = Receipts(folder=folder, source=source)
    receipts.do(step, parameters, names, work)
    return receipts


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {RECEIPT_NAME}


def test_what_other_runs_made_of_the_same_slide_stays(tmp_path: Path) -> None:
    leave(tmp_path, "nuclei", "aa", "nuclei.parquet", mask="m", teacher="t")
    leave(tmp_path, "nuclei_geojson", "aa", "nuclei.geojson", nuclei="digest")
    leave(tmp_path, "embed", "aa", "tiles.h5", mask="m").forget_stale({"mask": "m"})
    assert files_of(tmp_path) == {"nuclei.parquet", "nuclei.geojson", "tiles.h5"}


def test_where_a_person_removes_one_file_the_others_stay(tmp_path: Path) -> None:
    leave(tmp_path, "nuclei", "aa", "nuclei.parquet", mask="m", teacher="t")
    leave(tmp_path, "nuclei_labels", "aa", "labels", nuclei="digest")
    leave(tmp_path, "nuclei_geojson", "aa", "nuclei.geojson", nuclei="digest")
    (tmp_path / "nuclei.geojson").unlink()
    receipts = leave(tmp_path, "embed", "aa", "tiles.h5", mask="m")
    assert receipts.forget_stale({"mask": "m"}) == set()
    assert files_of(tmp_path) == {"nuclei.parquet", "labels", "tiles.h5"}
    assert receipts.made_from("nuclei_geojson") is None


@pytest.mark.parametrize(("source", "mask"), [("bb", "m"), ("aa", "drawn")])
def test_what_was_made_of_another_slide_or_tissue_goes(
    tmp_path: Path, source: str, mask: str
) -> None:
    """Nuclei outside of the corrected tissue would be shown beside tiles inside of it."""
    leave(tmp_path, "nuclei", "aa", "nuclei.parquet", mask="m", teacher="t")
    leave(tmp_path, "nuclei_geojson", "aa", "nuclei.geojson", nuclei="digest")
    leave(tmp_path, "embed", source, "tiles.h5", mask=mask).forget_stale({"mask": mask})
    assert files_of(tmp_path) == {"tiles.h5"}
    assert Receipts(folder=tmp_path, source="aa").made_from("nuclei") is None


@pytest.mark.parametrize(("source", "mpp"), [("bb", 0.5), ("aa", 0.25)])
def test_what_is_of_another_slide_goes_before_the_new_one_is_begun(
    tmp_path: Path, source: str, mpp: float
) -> None:
    leave(tmp_path, "tissue", "aa", "tissue.geojson", mpp=0.5, mask="m")
    leave(tmp_path, "embed", "aa", "tiles.h5", mpp=0.5, mask="m")
    leave(tmp_path, "nuclei_geojson", "aa", "nuclei.geojson", nuclei="digest")
    (tmp_path / "notes.txt").write_text("a person's")
    same = Receipts(folder=tmp_path, source="aa")
    same.forget_others({"mpp": 0.5})
    assert files_of(tmp_path) == {"tissue.geojson", "tiles.h5", "nuclei.geojson", "notes.txt"}
    Receipts(folder=tmp_path, source=source).forget_others({"mpp": mpp}, keep=("tissue.geojson",))
    assert files_of(tmp_path) == {"tissue.geojson", "notes.txt"}
    assert same.made_from("embed") is None


@pytest.mark.parametrize("missing", ["input", "parameters"])
def test_a_receipt_that_lacks_a_part_is_judged_by_the_rest(tmp_path: Path, missing: str) -> None:
    receipts = leave(tmp_path, "embed", "aa", "tiles.h5", mpp=0.5)
    known = read_receipts(tmp_path)
    del known["embed"][missing]
    (tmp_path / RECEIPT_NAME).write_text(module._as_text(known))
    receipts.forget_others({"mpp": 0.5})
    assert files_of(tmp_path) == ({"tiles.h5"} if missing == "parameters" else set())


def test_of_a_step_that_another_wrote_over_nothing_stays(tmp_path: Path) -> None:
    """A head's heatmap and the density of nuclei are the same file."""
    leave(tmp_path, "predict", "aa", "heatmap.png", "prediction.json", mask="m")
    leave(tmp_path, "density", "aa", "heatmap.png", mask="m").forget_stale({"mask": "m"})
    assert files_of(tmp_path) == {"heatmap.png"}
    assert (tmp_path / "heatmap.png").read_text() == "density"


@pytest.mark.parametrize("name", ["../theirs", "image/../../theirs", "{theirs}", "", "."])
def test_what_lies_outside_its_folder_is_no_output(tmp_path: Path, name: str) -> None:
    """A folder may come from elsewhere, and `forget` removes outputs."""
    theirs, folder = tmp_path / "theirs", tmp_path / "slide"
    theirs.mkdir()
    (theirs / "file").write_text("kept")
    folder.mkdir()
    receipt = {"embed": {"input": "aa", "outputs": {name.format(theirs=theirs): "digest"}}}
    (folder / RECEIPT_NAME).write_text(module._as_text(receipt))
    with pytest.raises(ValueError, match="not in its folder"):
        read_receipts(folder)
    Receipts(folder=folder, source="aa").forget()
    assert (theirs / "file").read_text() == "kept"
