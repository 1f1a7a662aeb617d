"""Made-up slides to try the pipeline on: known truth, known coordinates, nobody's patient."""

import csv
import itertools
import json
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from wsi.atomic import replacing
from wsi.synthetic.aperio import Associated, write_svs
from wsi.synthetic.noise import hashed, uniform
from wsi.synthetic.papers import draw_label, draw_macro
from wsi.synthetic.specimen import Specimen, Stain
from wsi.synthetic.tissue import BLOCK, Rendering, render, tissue_mask, tumour_mask

__all__ = [
    "TRUTH_DOWNSAMPLE",
    "CohortSlide",
    "Rendering",
    "Specimen",
    "Stain",
    "make_cohort",
    "nuclei_crops",
    "plan_cohort",
    "render",
    "tissue_mask",
    "tumour_mask",
    "write_cohort_slide",
    "write_locating_slide",
    "write_manifest",
    "write_slide",
]

MAGNIFICATION_MPP = 10.0  # magnification x mpp: 20x is 0.5 µm
TRUTH_DOWNSAMPLE = 16
_HEADER = ("path", "slide_id", "patient_id", "label", "split")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortSlide:
    """One slide of a made-up cohort: a row of its manifest and what to render."""

    path: Path
    slide_id: str
    patient_id: str
    label: Literal["normal", "tumour"]
    split: Literal["train", "tune", "test"]
    specimen: Specimen

    @property
    def truth_path(self) -> Path:
        """The mask of the tumour, `TRUTH_DOWNSAMPLE` level-0 pixels a pixel."""
        return self.path.parent / "truth" / f"{self.slide_id}_tumour.png"


def plan_cohort(
    folder: Path,
    *,
    patients: int = 12,
    slides_per_patient: int = 2,
    size_px: int = 3072,
    large_px: int | None = 20_000,
    seed: int = 0,
) -> tuple[CohortSlide, ...]:
    """List the slides of a cohort without writing any.

    Every second patient has a tumour, on all of his slides. Half of the patients are for
    training, a quarter each to tune and to test. The last slide of the first test patient
    with a tumour is `large_px` square; the others are within 12 % of `size_px`.

    Raises
    ------
    ValueError
        If there are under 6 patients: too few for both labels in every split.
    """
    if patients < 6 or slides_per_patient < 1:
        raise ValueError(
            f"want at least 6 patients of 1 slide, got {patients} of {slides_per_patient}"
        )
    slides: list[CohortSlide] = []
    large_at = (patients, slides_per_patient)
    for patient in range(patients):
        for number in range(slides_per_patient):
            split = _split(patient, patients)
            label: Literal["normal", "tumour"] = "normal" if patient % 2 else "tumour"
            serial = patient * slides_per_patient + number
            draw = uniform(seed, serial, np.arange(4))
            width, height = (round(size_px * (0.88 + 0.24 * float(u))) for u in draw[:2])
            slide_id = f"p{patient:03d}_s{number}"
            last = number == slides_per_patient - 1
            if (
                large_px
                and split == "test"
                and label == "tumour"
                and last
                and patient < large_at[0]
            ):
                width, height, large_at = large_px, large_px, (patient, number)
            specimen = Specimen(
                seed=(seed * 100_003 + serial) % 2**31,
                width=width,
                height=height,
                tumour=label == "tumour",
                pen=bool(draw[2] < 0.25),
                blur=bool(draw[3] < 0.25),
            )
            slides.append(
                CohortSlide(
                    path=Path(folder) / f"{slide_id}.svs",
                    slide_id=slide_id,
                    patient_id=f"p{patient:03d}",
                    label=label,
                    split=split,
                    specimen=specimen,
                )
            )
    return tuple(slides)


def _split(patient: int, patients: int) -> Literal["train", "tune", "test"]:
    """Assign patients in pairs, one of each label: a quarter to tune, a quarter to test."""
    pairs = patients // 2
    held = max(1, round(pairs / 4))
    pair = patient // 2
    if pair < held:
        return "test"
    return "tune" if pair < 2 * held else "train"


def write_cohort_slide(slide: CohortSlide) -> None:
    """Write one slide and the mask of its tumour."""
    write_slide(slide.path, slide.specimen)
    mask = tumour_mask(slide.specimen, downsample=TRUTH_DOWNSAMPLE)
    text = PngInfo()
    text.add_text("downsample", str(TRUTH_DOWNSAMPLE))
    text.add_text("slide_id", slide.slide_id)
    with replacing(slide.truth_path) as partial:
        Image.fromarray(mask).save(partial, format="PNG", pnginfo=text)


def write_manifest(folder: Path, slides: tuple[CohortSlide, ...]) -> Path:
    """Write ``manifest.csv``, paths relative to it, and ``truth/truth.json``; return the first."""
    folder = Path(folder)
    manifest = folder / "manifest.csv"
    with (
        replacing(manifest) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        for slide in slides:
            name = slide.path.relative_to(folder).as_posix()
            writer.writerow((name, slide.slide_id, slide.patient_id, slide.label, slide.split))
    truth = {
        "downsample": TRUTH_DOWNSAMPLE,
        "masks": {slide.slide_id: slide.truth_path.name for slide in slides},
    }
    with replacing(folder / "truth" / "truth.json") as partial:
        partial.write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    return manifest


def make_cohort(
    folder: Path,
    *,
    patients: int = 12,
    slides_per_patient: int = 2,
    size_px: int = 3072,
    large_px: int | None = 20_000,
    seed: int = 0,
) -> Path:
    """Write a cohort, one slide after the other; return its manifest.

    The parameters are those of `plan_cohort`, whose slides can be handed to
    `write_cohort_slide` in parallel instead. The same parameters give the same files.
    """
    slides = plan_cohort(
        folder,
        patients=patients,
        slides_per_patient=slides_per_patient,
        size_px=size_px,
        large_px=large_px,
        seed=seed,
    )
    for slide in slides:
        write_cohort_slide(slide)
    return write_manifest(folder, slides)


def nuclei_crops(
    *, count: int, size_px: int, seed: int, mpp: float = 0.5
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Render labelled crops to train a nuclei model on.

    Crops come from many specimens of different stains, half of them with a tumour; most of a
    crop is tissue.

    Parameters
    ----------
    count, size_px
        How many crops, and their width and height in pixels.
    seed
        Which crops.
    mpp
        Of the crops, µm per pixel.

    Returns
    -------
    rgb
        (count, size_px, size_px, 3).
    nuclei
        (count, size_px, size_px) instance labels, 0 = none; not consecutive.
    """
    rgb = np.empty((count, size_px, size_px, 3), np.uint8)
    nuclei = np.empty((count, size_px, size_px), np.int32)
    side = max(round(1200 / mpp), 3 * size_px)
    done, serial = 0, 0
    while done < count:
        number = (seed * 1_000_003 + serial) % 2**31
        serial += 1
        specimen = Specimen(
            seed=number,
            width=side,
            height=side,
            mpp=mpp,
            tumour=serial % 2 == 0,
            blur=serial % 8 == 0,
        )
        for x, y in _tissue_spots(specimen, size_px)[: min(8, count - done)]:
            region = render(specimen, x=x, y=y, width=size_px, height=size_px)
            rgb[done], nuclei[done] = region.rgb, region.nuclei
            done += 1
    return rgb, nuclei


def _tissue_spots(specimen: Specimen, size_px: int) -> list[tuple[int, int]]:
    """List corners of squares that hold mostly tissue, by turns in and out of tumour; level-0."""
    step = size_px if size_px > BLOCK else BLOCK // max(1, BLOCK // size_px)
    coarse = 8
    masks = {"tissue": tissue_mask(specimen, downsample=coarse)}
    masks["tumour"] = tumour_mask(specimen, downsample=coarse)
    edge = max(1, size_px // coarse)
    kinds: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for y in range(0, specimen.height - size_px + 1, step):
        for x in range(0, specimen.width - size_px + 1, step):
            here = np.s_[y // coarse : y // coarse + edge, x // coarse : x // coarse + edge]
            if masks["tissue"][here].mean() > 0.6:
                kinds[bool(masks["tumour"][here].mean() > 0.3)].append((x, y))
    mixed = []
    for tumour, spots in kinds.items():
        order = np.argsort(uniform(specimen.seed, np.arange(len(spots)), tumour), kind="stable")
        mixed.append([spots[k] for k in order])
    return [spot for pair in itertools.zip_longest(*mixed) for spot in pair if spot is not None]
