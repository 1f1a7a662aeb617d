"""Seeded mutations of a file: of its bytes anywhere, of a TIFF's entries, of a tree of values."""

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tifffile

EDGES = (0, 1, 2, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
HEAD = 4096  # bytes at the front, where most formats keep what readers trust
NAMES = (
    "../../escaped",
    "/tmp/escaped",
    "..\\..\\escaped",
    "C:\\escaped",
    "CON",
    "a/b",
    "a\0b",
    "a" * 5000,
    ".",
    "..",
    "...",
    " ",
    "",
    "x\u202egvs",
    "\ud7ff\u0301é\U0001f9ec",
    "-rf",
    "%2e%2e%2fescaped",
    "file:///etc/passwd",
    "http://127.0.0.1:9/x.zarr",
    "~root",
    "$HOME",
    "a\nb",
    ".tmp-0000",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1,
    2**31,
    2**63,
    2**70,
    1e-300,
    1e308,
    float("nan"),
    float("inf"),
    [],
    {},
    [[[[]]]],
    [1] * 1000,
    "0",
    *NAMES,
)
Mutation = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, rng: random.Random) -> bytes:
    """Change up to 16 bytes, most of them near the front or the end."""
    if not data:
        return data
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        changed[_somewhere(len(data), rng)] = rng.choice((rng.randrange(256), 0, 0xFF))
    return bytes(changed)


def edge(data: bytes, rng: random.Random) -> bytes:
    """Write a number at the edge of its range over four bytes."""
    at = _somewhere(max(1, len(data) - 4), rng)
    number = rng.choice((*EDGES, len(data), len(data) - 1, at))
    return data[:at] + struct.pack(rng.choice("<>") + "I", number & 0xFFFFFFFF) + data[at + 4 :]


def cut(data: bytes, rng: random.Random) -> bytes:
    """End early."""
    return data[: rng.choice((rng.randrange(len(data) + 1), rng.randrange(min(64, len(data)) + 1)))]


def move(data: bytes, rng: random.Random) -> bytes:
    """Take a block out, put it in twice, or blank it."""
    start = _somewhere(len(data), rng)
    block = data[start : start + rng.choice((1, 2, 12, 64, 1000))]
    middle = rng.choice((b"", block + block, bytes(len(block))))
    return data[:start] + middle + data[start + len(block) :]


def _somewhere(length: int, rng: random.Random) -> int:
    near = min(HEAD, length)
    front, end = rng.randrange(near), length - 1 - rng.randrange(near)
    return rng.choice((front, front, end, rng.randrange(length)))


ANY_BYTES: tuple[Mutation, ...] = (flip, edge, cut, move)


def tiff_entries(path: Path) -> tuple[int, ...]:
    """Where the 12-byte entries of a classic TIFF's directories are."""
    with tifffile.TiffFile(path) as tiff:
        return tuple(tag.offset for page in tiff.pages for tag in page.aspage().tags)


def tiff_entry(entries: tuple[int, ...]) -> Mutation:
    """Change the type, the count or the value of one or two entries, or copy one over another."""

    def change(data: bytes, rng: random.Random) -> bytes:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2))):
            at = rng.choice(entries)
            what = rng.randrange(4)
            if what == 0:
                struct.pack_into("<H", changed, at + 2, rng.choice((*range(20), 0xFFFF)))
            elif what == 3:
                other = rng.choice(entries)
                changed[at : at + 12] = data[other : other + 12]
            else:
                near = struct.unpack_from("<I", data, at + 4 * what)[0]
                number = rng.choice((*EDGES, near + 1, near - 1, near * 2, near ^ (1 << 16), at))
                struct.pack_into("<I", changed, at + 4 * what, number & 0xFFFFFFFF)
        return bytes(changed)

    return change


def tree(value: Any, rng: random.Random) -> Any:
    """A JSON-like value with one of its parts replaced, taken out or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.92:
        key = rng.choice(list(value))
        if rng.random() < 0.08:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: tree(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        if rng.random() < 0.15:
            return value[:at] + value[at + 1 :] if rng.random() < 0.5 else value + value
        return [*value[:at], tree(value[at], rng), *value[at + 1 :]]
    if isinstance(value, int | float) and rng.random() < 0.4:
        return rng.choice((value * 2, value + 1, -value, value / 3, value * 10**6))
    return rng.choice(VALUES)


def json_tree(data: bytes, rng: random.Random) -> bytes:
    """Change one value of a JSON file; what is none any more is changed anywhere."""
    try:
        value = json.loads(data)
    except ValueError:
        return flip(data, rng)
    return json.dumps(tree(value, rng)).encode()


def tensors_header(data: bytes, rng: random.Random) -> bytes:
    """Change the length or one value of a safetensors file's JSON header."""
    length = int.from_bytes(data[:8], "little")
    if rng.random() < 0.3:
        claimed = rng.choice((*EDGES, 2**40, 2**63 - 1, 2**64 - 1, length - 1, length + 1))
        return claimed.to_bytes(8, "little") + data[8:]
    header = json_tree(data[8 : 8 + length], rng)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]
