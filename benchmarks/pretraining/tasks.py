"""The downstream tasks by name, and where each lies below the folder of data sets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from distill.downstream.dataset import LabelledImages
from distill.downstream.loaders.bach import load_bach
from distill.downstream.loaders.bach_regions import TASK as BACH_REGIONS_TASK
from distill.downstream.loaders.bach_regions import load_bach_regions
from distill.downstream.loaders.bach_wsi import load_bach_wsi
from distill.downstream.loaders.breakhis import load_breakhis
from distill.downstream.loaders.crchisto import load_crchisto
from distill.downstream.loaders.eva import (
    BACH_TASK,
    BREAKHIS_TASK,
    load_bach_eva,
    load_breakhis_eva,
)
from distill.downstream.loaders.glas import GLANDS_TASK, load_glands, load_glas
from distill.downstream.loaders.lymphoma import load_lymphoma
from distill.downstream.loaders.nct_crc import load_crc_val_sample, load_nct_crc
from distill.downstream.loaders.pcam import load_pcam
from distill.downstream.regions import RegionSet
from distill.teachers.labelled import Labelled
from distill.teachers.read import read_labelled

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Generic[T]):
    """A folder's name and what reads it; `needs` is a pattern of files that must be in it."""

    folder: str
    load: Callable[[Path], T]
    needs: str = "*"

    def is_in(self, data: Path) -> bool:
        """Whether the folder of data sets has what this task needs."""
        return any((data / self.folder).glob(self.needs))


def _nuclei(folder: Path, *, mpp: float) -> list[Labelled]:
    """Images all of whose nuclei are told apart, at `mpp` where the layout does not say it."""
    return [image for image in read_labelled(folder, mpp=mpp) if image.complete]


# Those of eva want the whole set: without the file named here it is a part.
CLASSIFICATION: Mapping[str, Task[LabelledImages]] = {
    "crchisto-type": Task(folder="crchisto", load=partial(load_crchisto, target="cell_type")),
    "crchisto-cancerous": Task(
        folder="crchisto", load=partial(load_crchisto, target="is_cancerous")
    ),
    "glas": Task(folder="glas", load=load_glas),
    "crc-val-sample": Task(folder="crc_val_sample", load=load_crc_val_sample),
    "bach": Task(folder="bach", load=load_bach),
    BACH_TASK: Task(folder="bach", load=load_bach_eva, needs="Photos/*/iv100.tif"),
    "bach-wsi": Task(folder="bach", load=load_bach_wsi, needs="WSI/*.xml"),
    "nct-crc": Task(folder="nct_crc", load=load_nct_crc),
    "breakhis-40X": Task(folder="breakhis", load=partial(load_breakhis, magnification="40X")),
    "breakhis-100X": Task(folder="breakhis", load=partial(load_breakhis, magnification="100X")),
    "breakhis-200X": Task(folder="breakhis", load=partial(load_breakhis, magnification="200X")),
    "breakhis-400X": Task(folder="breakhis", load=partial(load_breakhis, magnification="400X")),
    BREAKHIS_TASK: Task(
        folder="breakhis",
        load=load_breakhis_eva,
        needs="BreaKHis_v1/histology_slides/breast/*/SOB/*/*/40X/*-19979-*",
    ),
    "lymphoma": Task(folder="lymphoma", load=load_lymphoma),
    "pcam": Task(folder="pcam", load=load_pcam),
}

SEGMENTATION: Mapping[str, Task[list[Labelled]]] = {
    "monuseg-nuclei": Task(folder="monuseg", load=partial(_nuclei, mpp=0.25)),
    # Not published. The median nucleus is 20 pixels wide in the median image, 24 in MoNuSeg's.
    "dsb2018-nuclei": Task(folder="dsb2018_he", load=partial(_nuclei, mpp=0.3)),
}

REGIONS: Mapping[str, Task[RegionSet]] = {
    GLANDS_TASK: Task(folder="glas", load=load_glands, needs="*_anno.bmp"),
    BACH_REGIONS_TASK: Task(folder="bach", load=load_bach_regions, needs="WSI/*.xml"),
}
