"""The cohort as files: slides as an Aperio scanner writes them, masks of the truth, a manifest.

FOLDER/
manifest.csv           path, slide_id, patient_id, label: for `raypath run` and `raypath mil train`
cohort.json            what the slides were made with
slide-000.svs …        a pyramid of JPEG tiles
truth/slide-000.png …  0 no tissue, 128 benign, 255 malignant; `TRUTH_DOWNSAMPLE` times smaller
"""

import csv
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.cohort.paint import MAGNIFICATION, MPP, Materials, paint
from benchmarks.cohort.plan import Layout, SlidePlan, plan_cohort
from benchmarks.slides import SCANNED, MissingDataError, load_background
from distill.downstream.loaders.glas import load_glas
from pipelines.errors import UsageError
from wsi.atomic import replacing
from wsi.slide import Pixels
from wsi.synthetic.aperio import write_svs

INKS = "pen_and_tissue/tiles__no-tissue-*-pen.png"
MANIFEST_NAME, SETTINGS_NAME, TRUTH_NAME = "manifest.csv", "cohort.json", "truth"
HEADER = ("path", "slide_id", "patient_id", "label")
VERSION = 1  # raised when the same settings would give other slides


def load_materials(data: Path) -> Materials:
    """Read GlaS, pictures of ink and the empty parts of the scanned slide below `data`.

    Raises
    ------
    MissingDataError
        If the slide or the ink is not there.
    LabelledDataError
        If ``glas`` is not laid out as published.
    """
    inks = sorted(data.glob(INKS))
    if not inks or not (data / SCANNED).is_file():
        raise MissingDataError(
            f"{data} lacks {SCANNED} or {INKS}: name the folder of real pixels with --data"
        )
    return Materials(
        glas=load_glas(data / "glas"),
        background=load_background(data / SCANNED),
        inks=tuple(np.asarray(Image.open(path).convert("RGB")) for path in inks),
    )


def make_cohort(
    folder: Path,
    materials: Materials,
    layout: Layout,
    *,
    seed: int,
    report: Callable[[str], None] = lambda line: None,
) -> tuple[SlidePlan, ...]:
    """Write what is not there yet; the same images, layout and seed give the same files.

    Raises
    ------
    UsageError
        If `folder` holds another cohort.
    """
    plans = plan_cohort(materials.glas, layout, seed=seed)
    settings = {
        "version": VERSION,
        "layout": asdict(layout),
        "seed": seed,
        "images": materials.glas.digest,
        "licence": materials.glas.licence,
    }
    stored = folder / SETTINGS_NAME
    if not stored.exists():
        with replacing(stored) as tmp:
            tmp.write_text(json.dumps(settings, indent=1))
    elif json.loads(stored.read_text()) != settings:
        raise UsageError(f"{folder} holds a cohort made otherwise: name another folder")
    for plan in plans:
        path = folder / f"{plan.slide_id}.svs"
        if not path.exists():
            _write(path, plan, layout, materials)
            report(f"{path.name}: {plan.label}, {path.stat().st_size / 2**20:.1f} MiB")
    with replacing(folder / MANIFEST_NAME) as tmp, tmp.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HEADER)
        for plan in plans:
            rows.writerow((f"{plan.slide_id}.svs", plan.slide_id, plan.patient_id, plan.label))
    return plans


def truth_path(folder: Path, slide_id: str) -> Path:
    """The mask of a slide."""
    return folder / TRUTH_NAME / f"{slide_id}.png"


def _write(path: Path, plan: SlidePlan, layout: Layout, materials: Materials) -> None:
    painted = paint(plan, layout, materials)
    with replacing(truth_path(path.parent, plan.slide_id)) as tmp:
        Image.fromarray(painted.truth).save(tmp, format="PNG")
    height, width = painted.pixels.shape[:2]

    def read_block(x: int, y: int, columns: int, rows: int) -> Pixels:
        return painted.pixels[y : y + rows, x : x + columns]

    write_svs(
        path,
        width=width,
        height=height,
        mpp=MPP,
        magnification=MAGNIFICATION,
        read_block=read_block,
    )
