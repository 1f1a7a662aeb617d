"""Whole slides in SVS files: a specimen, or pixels that say where they are."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi.synthetic.aperio import Associated, write_svs
from wsi.synthetic.noise import hashed
from wsi.synthetic.papers import draw_label, draw_macro
from wsi.synthetic.specimen import Specimen
from wsi.synthetic.tissue import render

MAGNIFICATION_MPP = 10.0  # magnification x mpp: 20x is 0.5 µm
_NAMES = ("DOE, JANE", "ROE, RICHARD", "BLOGGS, JO", "MUSTERMANN, ERIKA", "ROSSI, MARIO")


def write_slide(path: Path, specimen: Specimen) -> Path:
    """Render a specimen into an SVS file with label, macro and made-up identifiers.

    The same specimen gives the same bytes, whatever the file is called.
    """
    seed = specimen.seed
    name = f"{_NAMES[seed % len(_NAMES)]}  S-2026-{seed % 10_000:04d}"
    day = date(2026, 1, 1) + timedelta(days=int(hashed(seed, 3)) % 180)
    properties = {
        "ScanScope ID": "SS-SYNTHETIC-1",
        "Filename": f"S-2026-{seed % 10_000:04d}",
        "Date": day.strftime("%m/%d/%y"),
        "Time": f"{8 + seed % 9:02d}:{seed * 7 % 60:02d}:{seed * 13 % 60:02d}",
        "User": "technician-made-up",
        "Patient": name,
        "ImageID": str(1_000_000 + seed % 1_000_000),
        "OriginalWidth": str(specimen.width),
        "OriginalHeight": str(specimen.height),
    }

    def read_block(x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        return render(specimen, x=x, y=y, width=width, height=height).rgb

    return write_svs(
        path,
        width=specimen.width,
        height=specimen.height,
        mpp=specimen.mpp,
        magnification=MAGNIFICATION_MPP / specimen.mpp,
        read_block=read_block,
        associated=Associated(label=draw_label(name, day), macro=draw_macro(specimen, name, day)),
        properties=properties,
    )


def write_locating_slide(
    path: Path, *, width: int = 4096, height: int = 4096, mpp: float = 0.5
) -> Path:
    """Write a lossless slide whose pixels say where they are.

    At level 0, red is ``x * 256 // width``, green ``y * 256 // height``, blue 128. Pixels of
    the other levels are rounded means. The centre of a region that lies within the slide is at
    level-0 ``((red + 0.5) * width / 256, (green + 0.5) * height / 256)`` of its mean red and
    green, to within 1/256 of the slide (one step of the ramp) plus what rounding adds: half a
    step at the coarser levels, nothing at level 0.
    """
    red = (np.arange(width, dtype=np.int64) * 256 // width).astype(np.uint8)
    green = (np.arange(height, dtype=np.int64) * 256 // height).astype(np.uint8)

    def read_block(x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        block = np.full((height, width, 3), 128, np.uint8)
        block[..., 0] = red[None, x : x + width]
        block[..., 1] = green[y : y + height, None]
        return block

    return write_svs(
        path,
        width=width,
        height=height,
        mpp=mpp,
        magnification=MAGNIFICATION_MPP / mpp,
        read_block=read_block,
        lossless=True,
    )
