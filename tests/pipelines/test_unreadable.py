"""What lies over a slide lies where it belongs."""

import numpy as np

from pipelines.unreadable import hatch


def test_hatching_covers_what_did_not_decode() -> None:
    black = np.zeros((40, 60, 3), np.uint8)
    marked = hatch(black, {"cell_level0_px": 512, "cells": [[1, 0]]}, downsample=25.6)
    assert (marked[:20, 20:40] > 100).all()
    assert (marked[20:] == 0).all()
    assert (marked[:, :20] == 0).all()
