"""Comparing a demo run with what is known of its made-up slides."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score

from distill.downstream.statistics import Interval
from pipelines.heatmaps.ome_zarr import Heatmap, read_heatmap
from pipelines.mil.statistics import auroc
from pipelines.records import SlideRecord
from pipelines.runfolder import HEATMAP_NAME, SLIDES_NAME
from wsi.testing import TRUTH_DOWNSAMPLE, CohortSlide


def held_out_auroc(records: Sequence[SlideRecord], *, positive: str) -> Interval:
    """AUROC of the slides of split ``test`` that have a score."""
    test = [r for r in records if r.split == "test" and r.score is not None]
    return auroc(
        np.array([r.label == positive for r in test]),
        np.array([r.score for r in test], np.float64),
        [r.patient_id or r.slide_id for r in test],
    )


def heatmap_auroc(slides: Sequence[CohortSlide], out: Path) -> float:
    """Mean over slides of the AUROC of the first channel against the known tumour mask.

    Every cell the model looked at counts once; it is tumour when most of it is. Slides whose
    cells are all of one kind say nothing and are left out.
    """
    areas = []
    for slide in slides:
        heatmap = read_heatmap(out / SLIDES_NAME / slide.slide_id / HEATMAP_NAME)
        with Image.open(slide.truth_path) as image:
            truth = _on_cells(np.asarray(image.convert("L")) > 0, heatmap)
        looked_at = np.isfinite(heatmap.values[0])
        tumour = truth[looked_at] > 0.5
        if tumour.any() and not tumour.all():
            areas.append(float(roc_auc_score(tumour, heatmap.values[0][looked_at])))
    return float(np.mean(areas))


def _on_cells(mask: NDArray[np.bool_], heatmap: Heatmap) -> NDArray[np.float64]:
    """Share of tumour in each cell, (rows, columns), counting mask pixels by their centres."""
    cell = heatmap.cell_level0_px / TRUTH_DOWNSAMPLE
    _, rows, columns = heatmap.values.shape
    row = np.minimum(((np.arange(mask.shape[0]) + 0.5) / cell).astype(int), rows - 1)
    column = np.minimum(((np.arange(mask.shape[1]) + 0.5) / cell).astype(int), columns - 1)
    tumour, count = np.zeros((rows, columns)), np.zeros((rows, columns))
    np.add.at(tumour, (row[:, None], column[None, :]), mask)
    np.add.at(count, (row[:, None], column[None, :]), 1)
    return tumour / np.maximum(count, 1)
