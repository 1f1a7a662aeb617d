"""Sets published as arrays: CRCHistoPhenotypes and PatchCamelyon."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from distill.downstream.loaders.crchisto import load_crchisto
from distill.downstream.loaders.pcam import PREFIX, load_pcam
from distill.downstream.splits import folds
from distill.errors import LabelledDataError


def make_pcam(root: Path, counts: dict[str, int]) -> None:
    generator = np.random.default_rng(0)
    for split, count in counts.items():
        with h5py.File(root / f"{PREFIX}_{split}_x.h5", "w") as file:
            file["x"] = generator.integers(0, 256, (count, 96, 96, 3), np.uint8)
        with h5py.File(root / f"{PREFIX}_{split}_y.h5", "w") as file:
            file["y"] = (np.arange(count) % 2).astype(np.uint8).reshape(-1, 1, 1, 1)


def test_pcam_is_read_lazily_across_its_files(tmp_path: Path) -> None:
    make_pcam(tmp_path, {"train": 6, "test": 4})
    dataset = load_pcam(tmp_path)
    assert dataset.sample_ids[5:7] == ("train-5", "test-0")
    with h5py.File(tmp_path / f"{PREFIX}_test_x.h5") as file:
        np.testing.assert_array_equal(dataset.images.read(6), file["x"][0])
        np.testing.assert_array_equal(dataset.images.read(9), file["x"][3])
    with h5py.File(tmp_path / f"{PREFIX}_train_x.h5") as file:
        np.testing.assert_array_equal(dataset.images.read(5), file["x"][5])
    (fold,) = folds(dataset, seed=0)
    assert fold.test.tolist() == [6, 7, 8, 9]
    assert dataset.targets.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]


def test_pcam_with_a_missing_file_or_label_is_refused(tmp_path: Path) -> None:
    make_pcam(tmp_path, {"train": 6})
    with pytest.raises(LabelledDataError, match=r"test_x\.h5 is not there"):
        load_pcam(tmp_path)
    make_pcam(tmp_path, {"train": 6, "test": 4})
    with h5py.File(tmp_path / f"{PREFIX}_test_y.h5", "w") as file:
        file["y"] = np.zeros((3, 1, 1, 1))
    with pytest.raises(LabelledDataError, match="do not hold as many x as y"):
        load_pcam(tmp_path)


def test_crchisto_as_it_is(shared_data: Path) -> None:
    kinds = load_crchisto(shared_data / "crchisto", "cell_type")
    cancer = load_crchisto(shared_data / "crchisto", "is_cancerous")
    assert np.bincount(kinds.targets).tolist() == [1888, 2543, 4079, 1386]
    assert len(set(kinds.owners)) == 60
    assert kinds.images_digest == cancer.images_digest
    assert kinds.digest != cancer.digest
    # What is cancerous is epithelial.
    assert set(kinds.targets[cancer.targets == 1].tolist()) == {2}


def test_crchisto_without_an_array_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "patches27.npz", image=np.zeros((1, 27, 27, 3), np.uint8))
    with pytest.raises(
        LabelledDataError, match=r"lacks \['cell_type', 'instance_id', 'patient_id'\]"
    ):
        load_crchisto(tmp_path, "cell_type")
