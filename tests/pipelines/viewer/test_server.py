"""The viewer over HTTP: the right pixels of listed slides, and nothing of anything else."""

import io
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from pipelines.heatmaps.channels import colourise
from pipelines.runfolder import NotARunError
from pipelines.viewer import pages, server
from pipelines.viewer.headers import HEADERS
from pipelines.viewer.pages import THUMBNAIL_PX


@pytest.fixture
def client(made_run: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(server, "OPENSEADRAGON", Path(__file__))  # HTTP does without it
    with TestClient(server.create_app(made_run.path)) as client:
        yield client


def url(slide_id: str, rest: str = "") -> str:
    return f"/api/slides/{quote(slide_id, safe='')}{rest}"


def pixels_of(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def has_headers(answer: Any) -> bool:
    return all(answer.headers.get(name) == text for name, text in HEADERS.items())


def test_the_listing_has_every_slide(client: TestClient, made_run: Any) -> None:
    run = client.get("/api/run").json()
    assert run["counts"] == {"ok": 2, "partial": 1, "failed": 1}
    assert run["info"]["model"]["identifier"] == "tiny-rckd"
    assert run["positive"] == "tumour"
    slides = {slide["slide_id"]: slide for slide in run["slides"]}
    assert set(slides) == {*made_run.slides, made_run.failed}
    assert slides[made_run.negative]["has_image"]
    assert not slides[made_run.failed]["has_image"]
    assert slides[made_run.partial]["score"] is None  # NaN has no JSON
    assert not any(slide["uncertain"] for slide in run["slides"])


def test_the_listing_says_which_slides_are_to_be_read_again(
    made_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "OPENSEADRAGON", Path(__file__))
    out = shutil.copytree(made_run.path, tmp_path / "run")
    path = out / "slides" / made_run.negative / "prediction.json"
    with TestClient(server.create_app(out)) as client:
        for said in (False, True):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"uncertain": said}))
            slides = client.get("/api/run").json()["slides"]
            assert [s["slide_id"] for s in slides if s["uncertain"]] == [made_run.negative] * said


@pytest.mark.parametrize(("column", "row"), [(0, 0), (1, 1), (2, 0), (2, 2)])
def test_a_tile_is_the_slide_there(
    client: TestClient, made_run: Any, column: int, row: int
) -> None:
    tile = pixels_of(client.get(url(made_run.positive, f"/tiles/0/{column}_{row}.jpg")).content)
    x, y = 512 * column, 512 * row
    expected = made_run.slides[made_run.positive].pixels[y : y + 512, x : x + 512]
    assert tile.shape == expected.shape
    difference = np.abs(tile.astype(int) - expected)
    assert difference.mean() < 1.5
    assert np.quantile(difference, 0.999) < 24


def test_levels_halve_upwards(client: TestClient, made_run: Any) -> None:
    levels = client.get(url(made_run.positive)).json()["image"]["levels"]
    assert levels == [[1301, 1107], [651, 554], [326, 277]]
    tile = pixels_of(client.get(url(made_run.positive, "/tiles/2/0_0.jpg")).content)
    assert tile.shape == (277, 326, 3)


@pytest.mark.parametrize("tile", ["0/3_0", "0/0_3", "3/0_0", "99/0_0", "0/-1_0", "0/a_0"])
def test_there_is_no_tile_outside(client: TestClient, made_run: Any, tile: str) -> None:
    answer = client.get(url(made_run.positive, f"/tiles/{tile}.jpg"))
    assert answer.status_code == 404
    assert "error" in answer.json()


@pytest.mark.parametrize("channel", [0, 1])
def test_the_overlay_is_the_coloured_heatmap(
    client: TestClient, made_run: Any, channel: int
) -> None:
    heatmap = made_run.slides[made_run.positive].heatmap
    answer = client.get(url(made_run.positive, f"/heatmap/{channel}.png"))
    expected = colourise(heatmap.values[channel], heatmap.channels[channel])
    np.testing.assert_array_equal(pixels_of(answer.content), expected)
    assert not expected[0, 0, 3]  # the corner is glass: not looked at


def test_the_numbers_are_the_heatmap(client: TestClient, made_run: Any) -> None:
    heatmap = made_run.slides[made_run.positive].heatmap
    numbers = np.frombuffer(client.get(url(made_run.positive, "/heatmap/0.f32")).content, "<f4")
    np.testing.assert_array_equal(numbers.reshape(heatmap.values.shape[1:]), heatmap.values[0])
    assert client.get(url(made_run.positive, "/heatmap/2.png")).status_code == 404


def test_of_every_cell_is_told_why_it_has_no_value(client: TestClient, made_run: Any) -> None:
    heatmap = made_run.slides[made_run.positive].heatmap
    answer = client.get(url(made_run.positive, "/heatmap/looked.u8"))
    labels = np.frombuffer(answer.content, np.uint8).reshape(heatmap.values.shape[1:])
    np.testing.assert_array_equal(labels, heatmap.looked)
    names = client.get(url(made_run.positive)).json()["heatmap"]["labels"]
    row, column = made_run.fiducial
    assert names[str(labels[row, column])] == "looked at"
    assert names[str(labels[row, column + 1])] == "blurred"


def test_the_description_places_the_heatmap_and_names_its_colours(
    client: TestClient, made_run: Any
) -> None:
    slide = client.get(url(made_run.negative)).json()
    assert slide["heatmap"]["cell_level0_px"] == 100
    assert (slide["heatmap"]["columns"], slide["heatmap"]["rows"]) == (11, 14)
    score, rank = slide["heatmap"]["channels"]
    assert (score["low_label"], score["high_label"]) == ("not tumour", "tumour")
    assert (score["is_relative"], rank["is_relative"]) == (False, True)
    assert score["stops"][0] == "#313695"
    assert slide["prediction_file"]["threshold"] == 0.4


def test_what_did_not_decode_is_told(client: TestClient, made_run: Any) -> None:
    image = client.get(url(made_run.partial)).json()["image"]
    assert image["unreadable"] == {"cell_level0_px": 512, "cells": [[2, 1]]}
    whole = client.get(url(made_run.positive)).json()["image"]
    assert whole["unreadable"]["cells"] == []


def test_the_outline_runs_around_the_tissue(client: TestClient, made_run: Any) -> None:
    made = made_run.slides[made_run.positive]
    (ring,) = client.get(url(made_run.positive, "/tissue.json")).json()
    low, high = np.min(ring, axis=0), np.max(ring, axis=0)
    rows, columns = np.nonzero(made.tissue.mask)
    corner = np.array([columns.min(), rows.min()]) * 16
    end = np.array([columns.max() + 1, rows.max() + 1]) * 16
    np.testing.assert_allclose(low, corner, atol=8)
    np.testing.assert_allclose(high, end, atol=8)


def test_thumbnails_are_small(client: TestClient, made_run: Any) -> None:
    answer = client.get(url(made_run.negative, "/thumbnail.jpg"))
    assert max(pixels_of(answer.content).shape) == THUMBNAIL_PX
    assert len(answer.content) < 20_000


def test_the_browser_asks_again_and_gets_only_news(client: TestClient, made_run: Any) -> None:
    address = url(made_run.positive, "/tiles/0/0_0.jpg")
    first = client.get(address)
    assert "no-cache" in first.headers["cache-control"]
    again = client.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(address, headers={"If-None-Match": '"old"'}).status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        "/api/slides/unknown",
        "/api/slides/unknown/thumbnail.jpg",
        "/api/slides/..%2F..%2Fetc/thumbnail.jpg",
        "/api/slides/%2e%2e/thumbnail.jpg",
        "/api/slides/.%2Fpositive/thumbnail.jpg",
        "/api/slides/positive%2F..%2Fpositive/thumbnail.jpg",
        "/api/slides/positive%00/thumbnail.jpg",
        "/static/..%2Fserver.py",
        "/static/%2e%2e/server.py",
        "/slides/positive/prediction.json",
        "/run.json",
        "/nothing",
    ],
)
def test_only_listed_slides_are_served(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert answer.json()["error"]


def test_a_person_at_an_unknown_address_gets_a_page_with_a_way_back(client: TestClient) -> None:
    answer = client.get("/<i>nothing", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert '<a href="/">' in answer.text
    assert "<i>" not in answer.text


def test_a_failed_slide_is_described_without_a_picture(client: TestClient, made_run: Any) -> None:
    slide = client.get(url(made_run.failed)).json()
    assert slide["reason"] == "no_mpp"
    assert slide["image"] is None
    assert client.get(url(made_run.failed, "/thumbnail.jpg")).status_code == 404


def test_the_page_loads_nothing_from_outside(client: TestClient) -> None:
    page = client.get("/")
    assert "Research use only. Not a medical device." in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in (path.name for path in pages.STATIC.glob("*.js")):
        script = client.get(f"/static/{name}")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "://" not in script.text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("address", "status"), [("/", 200), ("/api/run", 200), ("/nothing", 404), ("/broken", 500)]
)
def test_every_answer_has_the_headers(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, address: str, status: int
) -> None:
    address = address.replace("/broken", url("positive", "/thumbnail.jpg"))
    monkeypatch.setattr(pages, "small_picture", Mock(side_effect=OSError("damaged")))
    patient = TestClient(client.app, raise_server_exceptions=False)
    answer = patient.get(address)
    assert answer.status_code == status
    assert has_headers(answer)


def test_it_starts_without_torch() -> None:
    loaded = "import sys, pipelines.viewer.server; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARunError, match="not the folder of a run"):
        server.create_app(tmp_path)


def test_a_missing_openseadragon_is_explained(
    made_run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(server, "OPENSEADRAGON", tmp_path / "none.js")
    with pytest.raises(server.MissingOpenSeadragonError, match=r"make viewer.*npm"):
        server.create_app(made_run.path)


def test_pages_elsewhere_cannot_borrow_the_name_of_this_machine(
    made_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "OPENSEADRAGON", Path(__file__))
    served = []
    monkeypatch.setattr(server._Server, "run", lambda self, sockets: served.append(self.config.app))
    server.serve(made_run.path, port=0)
    with TestClient(served[0], base_url="http://localhost:8000") as client:
        assert client.get("/api/run").status_code == 200
        refused = client.get("/api/run", headers={"Host": "evil.example"})
    assert refused.status_code == 400
    assert has_headers(refused)


def has_ipv6() -> bool:
    """Whether this machine has the loopback address of IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no ::1 on this machine")
def test_it_listens_on_ipv6_and_answers_to_that_name_alone(
    made_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "OPENSEADRAGON", Path(__file__))
    served: list[tuple[str, Any, Any]] = []

    def run(self: Any, sockets: list[socket.socket]) -> None:
        served.append((self.url, self.config.app, sockets[0].getsockname()))

    monkeypatch.setattr(server._Server, "run", run)
    server.serve(made_run.path, host="::1", port=0)
    ((address, app, (host, port, *_)),) = served
    assert (host, address) == ("::1", f"http://[::1]:{port}/")
    with TestClient(app, base_url=address) as client:
        assert client.get("/api/run").status_code == 200
        for name in ("evil.example:8000", "[::2]:8000", "["):
            answer = client.get("/api/run", headers={"Host": name})
            assert (answer.status_code, answer.text) == (400, "Invalid host header")


def test_a_port_in_use_is_explained(made_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "OPENSEADRAGON", Path(__file__))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(server.PortInUseError, match="--port 0"):
            server.serve(made_run.path, port=port)


def test_an_address_of_another_machine_is_not_blamed_on_the_port(
    made_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "OPENSEADRAGON", Path(__file__))
    with pytest.raises(server.PortInUseError, match=r"cannot listen on 192\.0\.2\.1:0") as caught:
        server.serve(made_run.path, host="192.0.2.1", port=0)
    assert "--port" not in str(caught.value)
