"""The paper label and the overview photograph of a made-up slide."""

from datetime import date

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from wsi.synthetic.noise import hashed
from wsi.synthetic.specimen import Specimen
from wsi.synthetic.tissue import tissue_mask

LABEL_SIZE = (387, 463)  # width, height, pixels
MACRO_SIZE = (1280, 431)


def draw_label(name: str, day: date) -> NDArray[np.uint8]:
    """Draw the label glued on the glass: a made-up `name`, a date, a code; (H, W, 3)."""
    picture = Image.new("RGB", LABEL_SIZE, (236, 234, 226))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((8, 8, LABEL_SIZE[0] - 9, LABEL_SIZE[1] - 9), outline=(60, 60, 60), width=2)
    lines = [(part, 30) for part in name.split("  ")]
    lines += [(day.isoformat(), 26), ("H&E", 40), ("FICTIONAL", 26)]
    for k, (line, size) in enumerate(lines):
        pen.text((26, 28 + 50 * k), line, fill=(20, 20, 40), font=ImageFont.load_default(size))
    bits = hashed(
        int(hashed(day.toordinal(), *name.encode())), np.arange(16)[:, None], np.arange(16)
    )
    code = Image.fromarray(((bits & 1) * 255).astype(np.uint8)).resize(
        (144, 144), Image.Resampling.NEAREST
    )
    picture.paste(code, (212, 290))
    return np.asarray(picture)


def draw_macro(specimen: Specimen, name: str, day: date) -> NDArray[np.uint8]:
    """Draw the photograph of the whole glass: the label at its left, the tissue; (H, W, 3)."""
    width, height = MACRO_SIZE
    picture = Image.new("RGB", MACRO_SIZE, (222, 222, 219))
    label = Image.fromarray(draw_label(name, day)).resize((352, 421), Image.Resampling.BILINEAR)
    picture.paste(label, (5, 5))
    room = (width - 420, height - 60)
    step = max(1, int(max(specimen.width / room[0], specimen.height / room[1])))
    mask = Image.fromarray(tissue_mask(specimen, downsample=step))
    mask.thumbnail(room)
    tissue = Image.new("RGB", mask.size, (205, 140, 175))
    picture.paste(
        tissue, (390 + (room[0] - mask.width) // 2, 30 + (room[1] - mask.height) // 2), mask
    )
    ImageDraw.Draw(picture).rectangle(
        (0, 0, width - 1, height - 1), outline=(150, 150, 150), width=3
    )
    return np.asarray(picture)
