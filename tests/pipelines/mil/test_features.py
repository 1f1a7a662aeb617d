"""Files of embeddings of four programs give the same bags, and nothing bad gets into one."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipelines.errors import FeaturesError
from pipelines.mil.features import find_features, open_features
from wsi.quality import MEASURES
from wsi.tilestore import LeftOut, TileTable, write_tiles

EMBEDDINGS = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float16)
COORDS = np.arange(14).reshape(7, 2)
ATTRIBUTES = {
    "patch_size": 224,
    "mpp": 0.5,
    "level0_mpp": 0.25,
    "slide_digest": "cd" * 32,
    "encoder": "resnet18-rckd",
    "encoder_sha256": "ab" * 32,
}


def write_ours(folder: Path) -> Path:
    path = folder / "slides" / "slide-1" / "tiles.h5"
    path.parent.mkdir(parents=True)
    left_out = LeftOut(
        coords=COORDS[:3],
        quality=np.zeros((3, len(MEASURES)), np.float32),
        reason=np.zeros(3, np.int8),
    )
    table = TileTable(
        coords=COORDS.astype(np.int64),
        embeddings=EMBEDDINGS.astype(np.float32),
        invalid=COORDS[:2].astype(np.int64),
        attributes=ATTRIBUTES,
        quality=np.zeros((7, len(MEASURES)), np.float32),
        left_out=left_out,
    )
    write_tiles(path, table)
    return path


def write_trident(folder: Path) -> Path:
    with h5py.File(folder / "slide-1.h5", "w") as file:
        features = file.create_dataset("features", data=EMBEDDINGS.astype(np.float32))
        features.attrs["encoder"] = "uni_v1"
        file["coords"] = COORDS
    return folder / "slide-1.h5"


def write_clam(folder: Path) -> Path:
    (folder / "h5_files").mkdir()
    path = folder / "h5_files" / "slide-1.h5"
    with h5py.File(path, "w") as file:
        file["features"] = EMBEDDINGS.astype(np.float32)
        file["coords"] = COORDS
    return path


def write_stamp(folder: Path) -> Path:
    with h5py.File(folder / "slide-1.h5", "w") as file:
        file["feats"] = EMBEDDINGS
        file["coords"] = COORDS * 0.5
        file.attrs.update({"extractor": "ctranspath", "unit": "um", "feat_type": "tile"})
    return folder / "slide-1.h5"


@pytest.mark.parametrize(
    ("write", "encoder", "left_out"),
    [
        (write_ours, "resnet18-rckd", (2, 3)),
        (write_trident, "uni_v1", (0, 0)),
        (write_clam, "", (0, 0)),
        (write_stamp, "ctranspath", (0, 0)),
    ],
)
def test_four_layouts_are_one_bag(tmp_path: Path, write, encoder, left_out) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path)
    assert find_features(tmp_path) == {"slide-1": path}
    features = pickle.loads(pickle.dumps(open_features(path)))
    np.testing.assert_array_equal(features.read(), EMBEDDINGS)
    assert (features.tiles, features.dim, features.not_finite) == (7, 4, 0)
    assert (features.invalid, features.excluded) == left_out
    assert features.encoder == encoder
    assert features.slide_digest == ("cd" * 32 if write is write_ours else "")
    (tmp_path / "again").mkdir()
    assert features.digest == open_features(write_clam(tmp_path / "again")).digest


def test_the_folder_of_slides_itself_may_be_given(tmp_path: Path) -> None:
    path = write_ours(tmp_path)
    assert find_features(tmp_path / "slides") == {"slide-1": path}


def test_embeddings_that_are_not_finite_never_enter_a_bag(tmp_path: Path) -> None:
    broken = EMBEDDINGS.astype(np.float32)
    broken[2, 1], broken[5, 0] = np.nan, np.inf
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"] = broken
    features = open_features(tmp_path / "a.h5")
    assert (features.tiles, features.not_finite) == (5, 2)
    np.testing.assert_array_equal(features.read(), EMBEDDINGS[[0, 1, 3, 4, 6]])


@pytest.mark.parametrize("change", ["nothing", "order", "precision", "one value", "one tile less"])
def test_the_digest_tells_slides_apart_not_files(tmp_path: Path, change: str) -> None:
    changed = EMBEDDINGS.copy()
    if change == "order":
        changed = changed[::-1]
    if change == "precision":
        changed = changed.astype(np.float64)
    if change == "one value":
        changed[0, 0] += 1
    if change == "one tile less":
        changed = changed[1:]
    for name, data in (("a", EMBEDDINGS), ("b", changed)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["features"] = data
    same = open_features(tmp_path / "a.h5").digest == open_features(tmp_path / "b.h5").digest
    assert same == (change in ("nothing", "order", "precision"))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"logits": EMBEDDINGS}, r"a\.h5 has logits; wanted one of features, feats"),
        ({}, r"a\.h5 has nothing"),
        ({"features": EMBEDDINGS[None]}, r"features is float16 of shape \(1, 7, 4\), wanted"),
        ({"features": COORDS}, r"features is int64"),
        ({"features": EMBEDDINGS, "coords": COORDS[:3]}, r"7 embeddings but 3 coordinates"),
    ],
)
def test_what_is_no_bag_is_refused(
    tmp_path: Path, content: dict[str, np.ndarray], complaint: str
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, data in content.items():
            file[name] = data
    with pytest.raises(FeaturesError, match=complaint):
        open_features(tmp_path / "a.h5")


def test_embeddings_of_slides_or_patients_are_refused(tmp_path: Path) -> None:
    path = write_stamp(tmp_path)
    with h5py.File(path, "a") as file:
        file.attrs["feat_type"] = "patient"
    with pytest.raises(FeaturesError, match="holds one embedding a patient: wanted one a tile"):
        open_features(path)


def test_what_is_no_hdf5_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"PK\x03\x04 not this one")
    with pytest.raises(FeaturesError, match=r"a\.h5 does not open as HDF5"):
        open_features(tmp_path / "a.h5")


@pytest.mark.parametrize("folder", ["", "pt_files"])
def test_files_that_execute_code_are_refused_by_name(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "a.pt").write_bytes(b"")
    with pytest.raises(
        FeaturesError, match=r"only \.pt files.* execute code.*h5_files.*'features'"
    ):
        find_features(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeaturesError, match="holds no embeddings: neither slides/<slide>/tiles"):
        find_features(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("preprocess", "macenko"),
        ("preprocess", '["macenko"]'),
        ("mpp", float("nan")),
        ("mpp", 0.0),
        ("patch_size", "large"),
    ],
)
def test_attributes_that_say_nothing_are_refused_by_file(
    tmp_path: Path, name: str, value: object
) -> None:
    path = write_ours(tmp_path)
    with h5py.File(path, "a") as file:
        file["features"].attrs[name] = value
    with pytest.raises(FeaturesError, match=rf"tiles\.h5.*{name}"):
        open_features(path)
