"""A slide's name, before anybody opens it."""

from pathlib import Path

import pytest

from wsi.ref import SlideRef


@pytest.mark.parametrize(
    ("path", "slide_id"),
    [
        ("a/b/slide.svs", "slide"),
        ("S-1.2.ndpi", "S-1.2"),
        ("x.ome.tiff", "x"),
        ("home.tif", "home"),
    ],
)
def test_a_slide_is_called_by_its_file(path: str, slide_id: str) -> None:
    ref = SlideRef.of(path)
    assert (ref.path, ref.slide_id) == (Path(path), slide_id)
    assert (ref.mpp, ref.mask) == (None, None)
