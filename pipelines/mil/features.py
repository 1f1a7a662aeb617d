"""Embeddings of slides as `raypath run`, TRIDENT, CLAM and STAMP leave them, read as they are.

What those call patches or features are our tiles and embeddings.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipelines.errors import FeaturesError
from pipelines.runfolder import SLIDES_NAME, TILES_NAME, tiles_name
from wsi.plan import TileSpec
from wsi.visible import visible

EMBEDDINGS = ("features", "feats", "patch_embeddings")  # ours, TRIDENT, CLAM; STAMP; STAMP's older
ENCODERS = ("encoder", "extractor")  # attributes that name it: ours, TRIDENT; STAMP
ROWS = 8192  # read at once where the whole is not needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """The embeddings of one slide in an HDF5 file, which is open only while it is read.

    Attributes
    ----------
    path, key
        The file and its data set of embeddings.
    tiles, dim
        How many embeddings enter a bag, and their length.
    not_finite
        Embeddings that hold a NaN or an infinity; they never enter a bag.
    invalid, excluded
        Tiles that did not decode, and those left out for their quality: they have no embedding.
        0 where the file does not tell.
    encoder, encoder_sha256
        What made the embeddings; empty where the file does not tell.
    digest
        SHA-256 of the embeddings as float16, whatever their order: what two files of one slide
        have in common that were embedded in the same way.
    slide_digest
        Of the slide's content, however it was embedded; empty where the file does not tell.
    spec
        Size and resolution of the tiles; None where the file does not tell.
    preprocess
        Names of the steps that changed the tiles before.
    """

    path: Path
    key: str
    tiles: int
    dim: int
    not_finite: int
    invalid: int
    excluded: int
    encoder: str
    encoder_sha256: str
    digest: str
    ordered_digest: str
    slide_digest: str
    spec: TileSpec | None = None
    preprocess: tuple[str, ...] = ()

    def read(self) -> NDArray[np.floating]:
        """The (tiles, dim) embeddings, in the file's precision and order."""
        with h5py.File(self.path) as file:
            embeddings: NDArray[np.floating] = file[self.key][:]
        return embeddings[np.isfinite(embeddings).all(axis=1)] if self.not_finite else embeddings


def find_features(folder: Path, *, tiles_of: str = "") -> dict[str, Path]:
    """Files of embeddings by slide.

    Looked for are, in this order, ``slides/<slide>/tiles.h5`` of a run or ``<slide>/tiles.h5``;
    ``<slide>.h5`` (TRIDENT, STAMP); ``h5_files/<slide>.h5`` (CLAM). The first that is there counts.

    Parameters
    ----------
    tiles_of
        Name of a further model of a run, see `RunConfig.also`: only its files are looked for.

    Raises
    ------
    FeaturesError
        If there is none.
    """
    name = tiles_name(tiles_of)
    for parent in (folder / SLIDES_NAME, folder):
        if ours := visible(parent, f"*/{name}"):
            return {path.parent.name: path for path in ours}
    if tiles_of:
        raise FeaturesError(
            f"{folder} has no {SLIDES_NAME}/<slide>/{name}: no run in it embedded tiles by a model "
            f"of that name (raypath run --also …/{tiles_of})"
        )
    for parent in (folder, folder / "h5_files"):
        if others := visible(parent, "*.h5"):
            return {path.stem: path for path in others}
    if next(folder.glob("*.pt"), None) or next(folder.glob("pt_files/*.pt"), None):
        raise FeaturesError(
            f"{folder} has only .pt files, which can execute code when they are loaded and are not "
            "read: give the folder that holds CLAM's h5_files, or convert each to <slide>.h5 with "
            "its embeddings as 'features'"
        )
    raise FeaturesError(
        f"{folder} holds no embeddings: neither {SLIDES_NAME}/<slide>/{TILES_NAME}, nor "
        f"<slide>/{TILES_NAME}, <slide>.h5 or h5_files/<slide>.h5"
    )


def open_features(path: Path) -> Features:
    """Look through a file once, some rows at a time.

    Raises
    ------
    FeaturesError
        If it is no HDF5, holds no embeddings of tiles, (N, D), or attributes that say nothing.
    """
    try:
        with h5py.File(path) as file:
            key = _key(file, path)
            rows, tiles = [], 0
            for part in _parts(file[key]):
                finite = part[np.isfinite(part).all(axis=1)]
                tiles += len(finite)
                with np.errstate(over="ignore"):  # beyond float16 is infinite, and equal
                    rows += [hashlib.sha256(row.tobytes()).digest() for row in finite.astype("f2")]
            attributes = [file[key].attrs, file.attrs, *(d.attrs for d in file.values())]
            return Features(
                path=path,
                key=key,
                tiles=tiles,
                dim=file[key].shape[1],
                not_finite=len(file[key]) - tiles,
                invalid=len(file.get("invalid_coords", ())),
                excluded=len(file.get("excluded_coords", ())),
                encoder=_text(attributes, ENCODERS),
                encoder_sha256=_text(attributes, ("encoder_sha256",)),
                digest=hashlib.sha256(b"".join(sorted(rows))).hexdigest(),
                ordered_digest=hashlib.sha256(
                    b"".join((str(file[key].dtype).encode(), *rows))
                ).hexdigest(),
                slide_digest=_text(attributes, ("slide_digest",)),
                spec=_spec(attributes, path),
                preprocess=_preprocess(attributes, path),
            )
    except OSError as error:
        raise FeaturesError(f"{path} does not open as HDF5: {error}") from error


def _preprocess(attributes: list[Mapping[str, Any]], path: Path) -> tuple[str, ...]:
    text = _text(attributes, ("preprocess",)) or "[]"
    try:
        return tuple(str(step["name"]) for step in json.loads(text))
    except (TypeError, ValueError, KeyError) as error:
        raise FeaturesError(
            f"{path}: attribute preprocess is {text!r}, wanted JSON as raypath run writes it, "
            '[{"name": "macenko"}]'
        ) from error


def _spec(attributes: list[Mapping[str, Any]], path: Path) -> TileSpec | None:
    """Of the attributes of a run, which say µm per pixel."""
    told = next((of for of in attributes if {"patch_size", "mpp"} <= of.keys()), None)
    if told is None:
        return None
    try:
        return TileSpec(size_px=int(told["patch_size"]), mpp=float(told["mpp"]))
    except (TypeError, ValueError, OverflowError) as error:
        raise FeaturesError(
            f"{path}: attributes patch_size {told['patch_size']} and mpp {told['mpp']} are to be "
            "positive numbers"
        ) from error


def _key(file: h5py.File, path: Path) -> str:
    """The data set of embeddings."""
    key = next((name for name in EMBEDDINGS if name in file), None)
    if key is None:
        raise FeaturesError(
            f"{path} has {', '.join(file) or 'nothing'}; wanted one of {', '.join(EMBEDDINGS)}"
        )
    kind = file.attrs.get("feat_type", "tile")
    if kind != "tile":
        raise FeaturesError(f"{path} holds one embedding a {kind}: wanted one a tile")
    shape = file[key].shape
    if len(shape) != 2 or not np.issubdtype(file[key].dtype, np.floating):
        raise FeaturesError(
            f"{path}: {key} is {file[key].dtype} of shape {shape}, wanted floats (tiles, length)"
        )
    if "coords" in file and len(file["coords"]) != shape[0]:
        raise FeaturesError(f"{path}: {shape[0]} embeddings but {len(file['coords'])} coordinates")
    return key


def _parts(dataset: h5py.Dataset) -> Iterator[NDArray[np.floating]]:
    for start in range(0, len(dataset), ROWS):
        yield dataset[start : start + ROWS]


def _text(attributes: list[Mapping[str, Any]], names: tuple[str, ...]) -> str:
    """The first attribute with one of these names that is text, or nothing."""
    found = (of.get(name) for name in names for of in attributes)
    return next((text for text in found if isinstance(text, str) and text), "")
