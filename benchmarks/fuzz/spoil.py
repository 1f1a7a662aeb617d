"""How a good copy of a file or folder is made a bad one."""

import random
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import tomli_w
from pyarrow import parquet

from benchmarks.fuzz.mutate import (
    ANY_BYTES,
    NAMES,
    Mutation,
    json_tree,
    tensors_header,
    tiff_entries,
    tiff_entry,
    tree,
)
from wsi.atomic import digest

EDGE_VALUES: tuple[Any, ...] = (None, True, -1, 2**62, float("nan"), b"\xff\xfe", [1, 2], {"a": 1})


def spoil_slide(path: Path, rng: random.Random) -> None:
    """Change bytes anywhere, or entries of a TIFF's directories."""
    mutations: tuple[Mutation, ...] = ANY_BYTES
    if path.suffix != ".dcm":
        mutations += 3 * (tiff_entry(_entries(path)),)
    _rewrite(path, rng.choice(mutations), rng)


@cache
def _entries(path: Path) -> tuple[int, ...]:
    """Of the copy before it is spoilt: the place of a copy is the same for all cases."""
    return tiff_entries(path)


def spoil_zarr(path: Path, rng: random.Random) -> None:
    """Change metadata or chunks in one or three places."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    metadata = [file for file in files if file.name in ("zarr.json", ".zarray", ".zattrs")]
    for _ in range(rng.choice((1, 1, 3))):
        if rng.random() < 0.7:
            _rewrite(rng.choice(metadata), rng.choice((json_tree,) * 6 + ANY_BYTES), rng)
        else:
            _rewrite(rng.choice(files), rng.choice(ANY_BYTES), rng)


def spoil_csv(path: Path, rng: random.Random) -> None:
    """Change bytes anywhere, or one value."""
    if rng.random() < 0.3:
        _rewrite(path, rng.choice(ANY_BYTES), rng)
        return
    rows = [line.split(",") for line in path.read_text().splitlines()]
    row = rng.choice(rows[1:]) if rng.random() < 0.9 else rows[0]
    row[rng.randrange(len(row))] = rng.choice((*NAMES, "nan", "-1", "1e999", '"', "\ufeff"))
    path.write_bytes("\n".join(",".join(row) for row in rows).encode("utf-8", "surrogatepass"))


def spoil_parquet(path: Path, rng: random.Random) -> None:
    """Change bytes anywhere, or a column's values and type."""
    if rng.random() < 0.6:
        _rewrite(path, rng.choice(ANY_BYTES), rng)
        return
    columns = parquet.read_table(path).to_pydict()
    column = columns[rng.choice(list(columns))]
    value = rng.choice((*NAMES, *EDGE_VALUES))
    column[:] = [value] * len(column) if not isinstance(value, str) else [value, *column[1:]]
    try:
        table = pa.table(columns)
    except (pa.ArrowException, UnicodeEncodeError):
        table = pa.table({"path": [value] if isinstance(value, str) else ["x"], "": [1]})
    parquet.write_table(table, path)


def spoil_model(path: Path, rng: random.Random) -> None:
    """Spoil the card, or the weights, and then give the card their digest as its author would."""
    card_path = next(path.glob("*.toml"))
    weights = next(path.glob("*.safetensors"))
    kind = rng.random()
    if kind < 0.1:
        _rewrite(card_path, rng.choice(ANY_BYTES), rng)
    elif kind < 0.6:
        card = tomllib.loads(card_path.read_text())
        try:
            card_path.write_text(tomli_w.dumps(_without_none(tree(card, rng))))
        except (TypeError, AttributeError, UnicodeEncodeError):
            card_path.write_text("format = ")
    else:
        _rewrite(weights, rng.choice((tensors_header,) * 4 + ANY_BYTES), rng)
        old = card_path.read_text()
        was = _digest_in(tomllib.loads(old))
        card_path.write_text(old.replace(was, digest(weights)))


def _digest_in(card: Mapping[str, Any]) -> str:
    part = card.get("encoder", card)
    return str(part["sha256"])


def _without_none(value: Any) -> Any:
    """TOML has no null."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_none(v) for v in value if v is not None]
    return value


def _rewrite(path: Path, mutate: Mutation, rng: random.Random) -> None:
    path.write_bytes(mutate(path.read_bytes(), rng))
