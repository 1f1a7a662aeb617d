"""What is mutated, how, and what is then done with it: as a run would, up to the pixels."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks.fuzz.spoil import (
    spoil_csv,
    spoil_model,
    spoil_parquet,
    spoil_slide,
    spoil_zarr,
)
from distill.card import EncoderCard, ModelCard, TileCard, TrainingCard
from distill.encoders import create_encoder
from distill.teachers.postprocess import Thresholds
from distill.teachers.teacher import build_net, load_teacher, save_teacher
from pipelines.cohort.manifest import read_manifest
from pipelines.conversion.driver import convert_slide
from pipelines.model import load_model, save_model
from pipelines.steps.look import look
from wsi.errors import UnreadableRegionError
from wsi.open import open_slide
from wsi.plan import TileSpec
from wsi.pyramid.options import PyramidOptions
from wsi.ref import SlideRef
from wsi.testing import Specimen, write_slide

READ_PX = 96
NETWORK = "test_convnext"  # timm's smallest
BACKBONE = "lcnet_035"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A good file or folder, and what is done with a mutated copy of it.

    Attributes
    ----------
    seed
        The good one.
    spoil
        Changes a copy.
    use
        Opens the copy; raises `RayPathError` or returns. The second argument is a folder for
        results, outside of which nothing may be written.
    """

    name: str
    seed: Path
    spoil: Callable[[Path, random.Random], None]
    use: Callable[[Path, Path], None]


def make_subjects(folder: Path, data: Path | None) -> tuple[Subject, ...]:
    """All subjects; `folder` holds good files made here, `data` real slides for those of others."""
    folder.mkdir(parents=True, exist_ok=True)
    svs = write_slide(folder / "made.svs", Specimen(seed=3, width=900, height=700))
    found = [_slide("SVS", svs)]
    if data is not None:
        found += [
            _slide("SVS, real", data / "CMU-1-Small-Region.svs"),
            _slide("NDPI, real", data / "test3-DAPI-2-(387).ndpi"),
            _slide("DICOM, real", data / "multi_frame_jpeg_camelyon_challenge_image.dcm"),
            _slide("TIFF, real", data / "kidney-48-5.tif"),
        ]
    for name, options in {
        "OME-Zarr 0.5, jpeg shards": PyramidOptions(),
        "OME-Zarr 0.5, zstd shards": PyramidOptions(codec="zstd"),
        "OME-Zarr 0.4, blosc": PyramidOptions(codec="blosc", ngff="0.4"),
    }.items():
        path = folder / f"{options.codec}.ome.zarr"
        convert_slide(SlideRef.of(svs), path, options=options, resume=True)
        found.append(Subject(name=name, seed=path, spoil=spoil_zarr, use=use_slide))
    found += [
        Subject(
            name="manifest, CSV",
            seed=_write_manifest(folder / "manifest.csv", svs),
            spoil=spoil_csv,
            use=use_manifest,
        ),
        Subject(
            name="manifest, Parquet",
            seed=_write_manifest(folder / "manifest.parquet", svs),
            spoil=spoil_parquet,
            use=use_manifest,
        ),
        Subject(
            name="model.toml, safetensors",
            seed=_write_model(folder / "model"),
            spoil=spoil_model,
            use=use_model,
        ),
        Subject(
            name="teacher.toml, safetensors",
            seed=_write_teacher(folder / "teacher"),
            spoil=spoil_model,
            use=use_teacher,
        ),
    ]
    return tuple(found)


def use_slide(path: Path, out: Path) -> None:
    """Open, find resolution and tissue, read the corners of every level and what lies beside."""
    ref = SlideRef(path=path, slide_id="fuzzed", mpp=0.5)
    with open_slide(ref) as slide:
        for level, size in enumerate(slide.level_dimensions):
            far = tuple(int(n * slide.level_downsamples[level]) - READ_PX for n in size)
            for corner in ((0, 0), (far[0], far[1])):
                try:
                    slide.read_region(corner, level, (READ_PX, READ_PX))
                except UnreadableRegionError:
                    continue  # as the embedding does: the tile is marked
        for name in slide.associated_images:
            slide.read_associated(name)
        look(slide, ref)


def use_manifest(path: Path, out: Path) -> None:
    """Read it; every slide's folder must lie directly in that of the slides."""
    for entry in read_manifest(path):
        folder = out / "slides" / entry.ref.slide_id
        folder.mkdir(parents=True)
        if folder.resolve().parent != (out / "slides").resolve():
            raise EscapeError(f"{entry.ref.slide_id!r} leads to {folder.resolve()}")


def use_model(path: Path, out: Path) -> None:
    """Load a model's encoder and embed one tile."""
    model = load_model(path)
    size = model.encoder.spec.size_px
    model.encoder.embed(np.zeros((1, size, size, 3), np.uint8))


def use_teacher(path: Path, out: Path) -> None:
    """Load a teacher and look at one image."""
    load_teacher(path).segment(np.zeros((64, 64, 3), np.uint8))


class EscapeError(Exception):
    """A name leads out of the folder for results."""


def _slide(name: str, path: Path) -> Subject:
    return Subject(name=name, seed=path, spoil=spoil_slide, use=use_slide)


def _write_manifest(path: Path, slide: Path) -> Path:
    rows = {
        "path": [str(slide), "other.svs", "more/third.svs"],
        "slide_id": ["one", "two", "three"],
        "patient_id": ["p1", "p2", "p2"],
        "label": ["0", "1", "1"],
        "split": ["train", "test", "test"],
        "mpp": ["0.5", "0.25", ""],
    }
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(rows), path)
        return path
    lines = [",".join(rows), *(",".join(row) for row in zip(*rows.values(), strict=True))]
    path.write_text("\n".join(lines))
    return path


def _write_model(folder: Path) -> Path:
    encoder = create_encoder(NETWORK, spec=TileSpec(size_px=64, mpp=2.0))
    about = EncoderCard(
        architecture=NETWORK,
        identifier=NETWORK,
        dim=encoder.dim,
        mean=encoder.mean,
        std=encoder.std,
        licence="CC0",
    )
    tile = TileCard(size_px=64, mpp=2.0)
    training = TrainingCard(data="none", data_licence="CC0", method="none")
    save_model(folder, ModelCard(encoder=about, tile=tile, training=training), encoder)
    return folder


def _write_teacher(folder: Path) -> Path:
    save_teacher(
        build_net(BACKBONE),
        folder,
        architecture=BACKBONE,
        mpp=0.5,
        thresholds=Thresholds(),
        training=TrainingCard(data="none", data_licence="CC0", method="none"),
    )
    return folder
