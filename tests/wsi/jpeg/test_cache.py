"""Tiles are decoded once while they stay, and the cache stays within its limit."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from wsi.buffers import Buffers
from wsi.jpeg.cache import TileCache
from wsi.slide import Pixels

SHAPE = (4, 4, 3)
TILE_BYTES = 48


def cache_of(tiles: int, limit: int = 100) -> TileCache:
    cache = TileCache(limit * TILE_BYTES, Buffers())
    cache.widen(tiles * TILE_BYTES)
    return cache


class Decoder:
    """Fills a tile with its key and counts the calls."""

    def __init__(self, key: int) -> None:
        self.key, self.calls = key, 0

    def __call__(self, out: Pixels) -> None:
        self.calls += 1
        out[...] = self.key


def test_what_was_used_last_stays() -> None:
    cache = cache_of(2)
    decoders = [Decoder(key) for key in range(3)]
    for key in (0, 1, 0, 2, 0, 1, 2):
        assert (cache.get(key, SHAPE, decoders[key]) == key).all()
    assert [decoder.calls for decoder in decoders] == [1, 2, 2]


def test_the_limit_holds_however_much_is_wanted() -> None:
    cache = cache_of(1000, limit=3)
    for key in range(50):
        cache.get(key, SHAPE, Decoder(key))
    assert [key for key in range(50) if key in cache] == [47, 48, 49]


def test_a_tile_that_falls_out_while_it_is_read_keeps_its_pixels() -> None:
    cache = cache_of(1)
    held = cache.get(0, SHAPE, Decoder(0))
    for key in range(1, 50):
        cache.get(key, SHAPE, Decoder(key))
    assert 0 not in cache
    assert (held == 0).all()


def test_threads_that_want_one_tile_wait_for_the_first_of_them() -> None:
    cache, started, go_on = cache_of(2), threading.Event(), threading.Event()
    calls = []

    def decode(out: Pixels) -> None:
        calls.append(1)
        started.set()
        go_on.wait(10)
        out[...] = 7

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(cache.get, "k", SHAPE, decode)
        started.wait(10)
        others = [pool.submit(cache.get, "k", SHAPE, decode) for _ in range(3)]
        go_on.set()
        assert all((done.result() == 7).all() for done in [first, *others])
    assert len(calls) == 1


def test_a_failure_is_raised_to_each_and_nothing_is_kept() -> None:
    cache = cache_of(2)

    def fail(out: Pixels) -> None:
        raise ValueError("damaged")

    for _ in range(2):
        with pytest.raises(ValueError, match="damaged"):
            cache.get("k", SHAPE, fail)
    assert "k" not in cache
    assert (cache.get("k", SHAPE, Decoder(5)) == 5).all()
