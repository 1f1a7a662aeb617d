"""Slides that many tests look at: made once a session and only read."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import settings

from wsi.slide import Pixels, Slide
from wsi.testing import Specimen, write_locating_slide, write_slide

ROOT = Path(__file__).parents[1]

settings.register_profile("raypath", derandomize=True, deadline=None)
settings.load_profile("raypath")


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUp:
    """A slide's file and the specimen it shows."""

    path: Path
    specimen: Specimen


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides, beside the repository; not part of it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the folder of real slides is not there: {folder}")
    return folder


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    """A slide of two levels with odd sizes, JPEG tiles of 256 pixels and a pen stroke."""
    specimen = Specimen(seed=5, width=1500, height=1301, pen=True)
    path = tmp_path_factory.mktemp("synthetic") / "synthetic.svs"
    return MadeUp(path=write_slide(path, specimen), specimen=specimen)


@pytest.fixture(scope="session")
def locating_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of 2304 x 1536 at 0.5 µm whose pixels say where they are; level 1 is 4 x less."""
    path = tmp_path_factory.mktemp("locating") / "locating.svs"
    return write_locating_slide(path, width=2304, height=1536)


@pytest.fixture(scope="session")
def damage_tile(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, int], Path]:
    """Copy a slide with the bytes of one level-0 tile, counted in reading order, overwritten."""

    def damage(path: Path, index: int) -> Path:
        copy = tmp_path_factory.mktemp("damaged") / path.name
        shutil.copyfile(path, copy)
        with tifffile.TiffFile(path) as tiff:
            offset = tiff.pages[0].dataoffsets[index]
            count = tiff.pages[0].databytecounts[index]
        with copy.open("r+b") as file:
            file.seek(offset)
            file.write(bytes(count))
        return copy

    return damage


class ArraySlide(Slide):
    """A slide of one level that is an array (H, W, 3); remembers the sizes it was asked for."""

    reader, vendor = "array", "made"
    level_downsamples = (1.0,)
    associated_images = ()
    icc_profile = None

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self.level_dimensions = ((pixels.shape[1], pixels.shape[0]),)
        self.properties: Mapping[str, str] = {}
        self.asked: list[tuple[int, int]] = []

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Pixels:
        assert level == 0
        self.asked.append(size)
        (width, height), (left, top) = size, location
        region = np.full((height, width, 3), 255, np.uint8)
        inside = self.pixels[max(top, 0) : top + height, max(left, 0) : left + width]
        y, x = max(-top, 0), max(-left, 0)
        region[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        return region

    def read_associated(self, name: str) -> Pixels:
        raise KeyError(name)

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def array_slide() -> Callable[[Pixels], ArraySlide]:
    """Make a slide of one level from an array."""
    return ArraySlide


@dataclass(slots=True, kw_only=True)
class WebServer:
    """A web server over a folder.

    `failing` maps a path to statuses to answer with, one a request; then it is served. `asked`
    holds every request.
    """

    url: str
    answers_ranges: bool = True
    failing: dict[str, list[int]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


class RangeHandler(SimpleHTTPRequestHandler):
    """Python's handler, with ranges and without listings, as object stores are."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, *arguments: Any, state: WebServer, **options: Any) -> None:
        self.state = state
        super().__init__(*arguments, **options)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        self.state.asked.append(f"{self.command} {self.path}")
        file = Path(self.translate_path(self.path))
        statuses = self.state.failing.get(self.path)
        status = statuses.pop(0) if statuses else (200 if file.is_file() else 404)
        body = file.read_bytes() if status == 200 else b"no"
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted and status == 200 and self.state.answers_ranges:
            status = 206
            first, last = (int(n) if n else None for n in wanted.groups())
            if first is None:
                body = body[-(last or 0) :]
            else:
                body = body[first : None if last is None else last + 1]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if file.is_file():
            self.send_header("Last-Modified", str(file.stat().st_mtime_ns))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def web_server(tmp_path: Path) -> Iterator[WebServer]:
    """Serve `tmp_path` on loopback."""
    state = WebServer(url="")
    handler = partial(RangeHandler, state=state, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
