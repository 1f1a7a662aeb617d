"""`report.html`: what happened to every slide, with the reason, the picture and the numbers."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2

from pipelines.channels import colour_stops, is_shown_unasked
from pipelines.check.compare import compare
from pipelines.heatmap import read_heatmap
from pipelines.pixels import open_pyramid, thumbnail, version_of
from pipelines.records import SlideRecord
from pipelines.report.pictures import (
    LONGEST_PX,
    REASON_COLOURS,
    data_uri,
    lay_over,
    mark_left_out,
)
from pipelines.runfolder import (
    HEATMAP_NAME,
    IMAGE_NAME,
    NOTICE,
    PREDICTION_NAME,
    TILES_NAME,
    RunFolder,
    read_json,
    read_run,
)
from pipelines.unreadable import hatch, unreadable_areas
from wsi.atomic import replacing
from wsi.tilestore import read_left_out

REPORT_NAME = "report.html"
ORDER = ("failed", "partial", "unfinished", "ok")  # what wants attention comes first


def write_report(out: Path) -> Path:
    """Write ``report.html`` into the run's folder `out`; returns its path.

    The page holds its pictures and loads nothing. Slides are drawn one after the other, so that
    memory does not grow with their number; one that cannot be drawn says so on its card.

    Raises
    ------
    NotARunError
        If `out` holds no run.
    """
    run = read_run(out)
    records = sorted(run.records, key=_urgency)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # run.json of a killed run lacks keys
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    page = environment.get_template(REPORT_NAME).stream(
        name=run.path.resolve().name,
        notice=NOTICE,
        info=run.info,
        about=_about(run),
        is_finished=run.is_finished,
        counts=run.counts,
        total=len(records),
        legend=_legend(run, records),
        cards=(_card(run, record) for record in records),
    )
    target = run.path / REPORT_NAME
    with replacing(target) as tmp:
        page.dump(str(tmp), encoding="utf-8")
    return target


def _urgency(record: SlideRecord) -> tuple[int, str]:
    known = record.verdict in ORDER
    return ORDER.index(record.verdict) if known else len(ORDER), record.slide_id


def _card(run: RunFolder, record: SlideRecord) -> dict[str, Any]:
    """A record with its pictures and what `prediction.json` adds."""
    folder = run.slide_folder(record.slide_id)
    card = record.as_dict() | {
        "reason": record.reason.replace("_", " "),
        "flags": [flag.replace("_", " ") for flag in record.flags],
        "total_seconds": sum(record.seconds.values()),
        "said": read_json(folder / PREDICTION_NAME) if folder else {},
        "image": None,
        "overlay": None,
        "withheld": None,
        "left_out": None,
        "reasons": [(REASON_COLOURS[m], m, n) for m, n in record.excluded.items()],
        "trouble": None,
    }
    if folder is None:
        return card
    try:
        drawn = _pictures(folder, card["said"], draws_left_out=bool(record.n_excluded_tiles))
        return card | drawn
    except Exception as error:  # the boundary of one slide: its files may be damaged in any way
        return card | {"trouble": f"cannot be drawn: {type(error).__name__}: {error}"}


def _pictures(folder: Path, said: dict[str, Any], *, draws_left_out: bool) -> dict[str, str]:
    """The slide, its heatmap unless it is withheld, and the tiles left out; `said` predicts."""
    image, heatmap = folder / IMAGE_NAME, folder / HEATMAP_NAME
    pictures = {}
    if version := version_of(image):
        pyramid = open_pyramid(image, version)
        pixels = thumbnail(pyramid, longest_px=LONGEST_PX)
        downsample = pyramid.level_dimensions[0][0] / pixels.shape[1]
        pixels = hatch(pixels, unreadable_areas(image), downsample=downsample)
        pictures["image"] = data_uri(pixels)
        if heatmap.exists():
            values = read_heatmap(heatmap)
            if is_shown_unasked(values.channels[0], said):
                pictures["overlay"] = data_uri(lay_over(pixels, values))
            else:
                pictures["withheld"] = values.channels[0].title
        if draws_left_out:
            left_out, edge = read_left_out(folder / TILES_NAME)
            marked = mark_left_out(pixels, left_out, tile_level0_px=edge, downsample=downsample)
            pictures["left_out"] = data_uri(marked)
    return pictures


def _legend(run: RunFolder, records: list[SlideRecord]) -> dict[str, Any] | None:
    """What the colours mean, from the first slide with a heatmap: a run has one model."""
    for record in records:
        folder = run.slide_folder(record.slide_id)
        if folder is None or not (folder / HEATMAP_NAME).exists():
            continue
        try:
            channel = read_heatmap(folder / HEATMAP_NAME).channels[0]
        except Exception:  # the slide's own card tells of its damage
            continue
        return channel.as_dict() | {"stops": colour_stops(channel)}
    return None


def _about(run: RunFolder) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Sections of `run.json` as headed lists of (name, value)."""
    titles = {
        "model": "Model",
        "teacher": "Nuclei teacher",
        "config": "Settings",
        "versions": "Versions",
        "machine": "Machine",
    }
    for key, title in titles.items():
        section = run.info.get(key)
        if isinstance(section, dict) and section:
            rows = [(name.replace("_", " "), _value(value)) for name, value in section.items()]
            yield title, rows
    if compared := compare(run.path):
        yield "Estimate of raypath check", compared


def _moment(text: object) -> str:
    """A time of `run.json` for people, to the minute; as it is when it is none."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname() or ''}".strip()


def _value(value: Any) -> str:
    return "not set" if value is None else str(value)
