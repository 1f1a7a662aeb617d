"""Outlined slides become tiles with a class."""

from pathlib import Path

import numpy as np
import pytest

from distill.downstream.loaders.bach_regions import load_bach_regions
from distill.downstream.loaders.bach_wsi import CLASSES, load_bach_wsi, read_outlines
from distill.errors import LabelledDataError
from wsi.testing import Specimen, write_slide

REGION = (
    '<Region Text=""><Attributes><Attribute Value="{name}"/></Attributes>'
    "<Vertices>{v}</Vertices></Region>"
)


def write_outlines(path: Path, boxes: list[tuple[str, int, int, int, int]]) -> None:
    regions = []
    for name, left, top, right, bottom in boxes:
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in corners)
        regions.append(REGION.format(name=name, v=vertices))
    inner = "".join(regions)
    path.write_text(
        f"<Annotations><Annotation><Regions>{inner}</Regions></Annotation></Annotations>"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "WSI").mkdir()
    write_slide(tmp_path / "WSI" / "A01.svs", Specimen(seed=5, width=3000, height=2600))
    write_slide(tmp_path / "WSI" / "not-outlined.svs", Specimen(seed=6, width=600, height=600))
    return tmp_path


def test_a_tile_has_the_class_that_covers_most_of_it(folder: Path) -> None:
    boxes = [
        ("Benign", 0, 0, 1024, 2600),
        ("Carcinoma in situ", 1024, 0, 1536, 2600),
        ("Carcinoma invasive", 1536, 0, 2048, 2600),
    ]
    write_outlines(folder / "WSI" / "A01.xml", boxes)
    dataset = load_bach_wsi(folder)
    assert dataset.classes == CLASSES
    assert set(dataset.owners) == {"A01"}
    for sample, target in zip(dataset.sample_ids, dataset.targets.tolist(), strict=True):
        x = int(sample.split("-")[1])
        assert CLASSES[target] == {
            0: "benign",
            512: "benign",
            1024: "in situ",
            1536: "invasive",
        }.get(x, "normal")
    assert dataset.images.read(0).shape == (512, 512, 3)


def test_an_outline_within_another_counts_once_and_as_the_graver(folder: Path) -> None:
    boxes = [
        ("Benign", 512, 0, 1536, 2600),
        ("Carcinoma invasive", 512, 0, 1024, 2600),
        ("Carcinoma in situ", 1024, 0, 1536, 2600),
        ("Benign", 1536, 0, 1690, 2600),  # 30 % of a tile, and the same 30 % again
        ("Carcinoma in situ", 1536, 0, 1690, 2600),
        ("Benign", 2048, 0, 2560, 2600),
    ]
    write_outlines(folder / "WSI" / "A01.xml", boxes)
    dataset = load_bach_wsi(folder)
    found = {
        (int(sample.split("-")[1]), CLASSES[target])
        for sample, target in zip(dataset.sample_ids, dataset.targets.tolist(), strict=True)
    }
    assert found == {
        (512, "invasive"),
        (1024, "in situ"),
        (1536, "normal"),
        (2048, "benign"),
        (2560, "normal"),
    }


def test_outlines_of_a_class_are_united_and_other_names_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    write_outlines(path, [("Benign", 0, 0, 10, 10), ("Benign", 5, 0, 15, 10)])
    assert read_outlines(path)["benign"].area == pytest.approx(150)
    write_outlines(path, [("Artefact", 0, 0, 10, 10)])
    with pytest.raises(LabelledDataError, match="outlines 'Artefact', wanted benign"):
        read_outlines(path)
    path.write_text("<Annotations>")
    with pytest.raises(LabelledDataError, match="not valid XML"):
        read_outlines(path)


def test_slides_without_outlines_are_not_used(folder: Path) -> None:
    with pytest.raises(LabelledDataError, match=r"has an \.xml beside it"):
        load_bach_wsi(folder)


def test_every_pixel_of_a_tile_has_its_class(folder: Path) -> None:
    boxes = [
        ("Benign", 0, 0, 1000, 2600),
        ("Carcinoma in situ", 1000, 0, 1536, 2600),
        ("Carcinoma invasive", 1500, 0, 2048, 1300),
    ]
    write_outlines(folder / "WSI" / "A01.xml", boxes)
    regions = load_bach_regions(folder)
    assert regions.classes == CLASSES
    assert {image.case for image in regions.images} == {"A01"}
    assert len(regions.images) > 8
    for image in regions.images:
        x, y = map(int, image.name.split("-")[1:])
        assert image.pixels.shape == (512, 512, 3)
        at_y, at_x = np.mgrid[y : y + 512, x : x + 512] + 0.5  # level 0 has 0.5 µm, as the tiles
        wanted = np.where(at_x < 1000, 1, np.where(at_x < 1536, 2, 0))
        wanted[(at_x > 1500) & (at_x < 2048) & (at_y < 1300)] = 3  # the graver, where both are
        np.testing.assert_array_equal(image.regions, wanted)
