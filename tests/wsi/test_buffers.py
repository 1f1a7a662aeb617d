"""Memory is used again, and never while somebody looks at it."""

import numpy as np

from wsi.buffers import Buffers


def test_memory_comes_back_when_the_last_view_is_gone() -> None:
    buffers = Buffers()
    first = buffers.take((4, 5, 3))
    place = first.__array_interface__["data"][0]
    row = first[2:, 1:].transpose(2, 1, 0)[0, :3]
    row[:] = 9
    del first
    others = [buffers.take((4, 5, 3)) for _ in range(20_000)]
    for other in others:
        other[...] = 0
    assert (row == 9).all()
    assert place not in {other.__array_interface__["data"][0] for other in others}
    del row
    assert buffers.take((4, 5, 3)).__array_interface__["data"][0] == place


def test_arrays_taken_together_do_not_overlap() -> None:
    buffers = Buffers()
    taken = [buffers.take((7, 3)) for _ in range(50)]
    for number, array in enumerate(taken):
        array[...] = number
    assert all((array == number).all() for number, array in enumerate(taken))
    assert taken[0].flags.writeable
    assert taken[0].dtype == np.uint8


def test_memory_of_a_size_no_longer_wanted_is_let_go() -> None:
    buffers = Buffers()
    buffers.take((10, 10))
    buffers.take((20, 20))
    assert list(buffers._free) == [400]
