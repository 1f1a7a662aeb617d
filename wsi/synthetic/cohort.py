"""A cohort of made-up slides: manifest, labels of patients, and the true place of each tumour."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from wsi.atomic import replacing
from wsi.synthetic.noise import uniform
from wsi.synthetic.slides import write_slide
from wsi.synthetic.specimen import Specimen
from wsi.synthetic.tissue import tumour_mask

TRUTH_DOWNSAMPLE = 16
_HEADER = ("path", "slide_id", "patient_id", "label", "split")


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
