"""`report.html`: what happened to every slide, with the reason, the picture and the numbers."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pipelines.check.compare import compare
from pipelines.heatmaps.looked import QUALITY
from pipelines.heatmaps.ome_zarr import read_heatmap
from pipelines.records import SlideRecord
from pipelines.report.pictures import REASON_COLOURS
from pipelines.report.preview import PREVIEW_NAME, data_uri, read_preview
from pipelines.report.summary import summarise
from pipelines.runfolder import (
    HEATMAP_NAME,
    INFO_NAME,
    NOTICE,
    PREDICTION_NAME,
    REPORT_NAME,
    is_finished,
    read_json,
    slide_folder,
    stream_run,
)
from wsi.atomic import replacing

EMBEDDED = 300  # slides whose larger pictures are in the page: some megabytes, still sent by mail
SAID = ("positive", "threshold", "calibrated", "uncertain")  # of prediction.json


def write_report(out: Path, *, size: int | None = None) -> Path:
    """Write ``report.html`` into the run's folder `out`; returns its path.

    The page holds a thumbnail of every slide, and the larger pictures of the `EMBEDDED` slides
    that want attention most: of a run no larger than that it holds all, and can be moved. The
    others it loads from ``slides/`` beside it. It loads nothing else. Slides are written one after
    the other, so that memory does not grow with their number; one that cannot be drawn says so.

    Parameters
    ----------
    out
        The folder.
    size
        Bytes that the run wrote, where they are not all in `out`.

    Raises
    ------
    NotARunError
        If `out` holds no run.
    """
    summary = summarise(stream_run(out), urgent=EMBEDDED)
    info = read_json(out / INFO_NAME)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # run.json of a killed run lacks keys
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    page = environment.get_template("page.html").stream(
        name=out.resolve().name,
        notice=NOTICE,
        info=info,
        about=_about(out, info, size),
        is_finished=is_finished(out),
        summary=summary,
        embedded=EMBEDDED,
        legend=_legend(out),
        colours=REASON_COLOURS,
        measures=QUALITY,
        rows=(_row(out, r, embeds=r.slide_id in summary.urgent) for r in stream_run(out)),
    )
    target = out / REPORT_NAME
    with replacing(target) as tmp:
        page.dump(str(tmp), encoding="utf-8")
    return target


def _row(out: Path, record: SlideRecord, *, embeds: bool) -> Markup:
    """A record with its pictures and what `prediction.json` adds, as JSON within a script."""
    folder = slide_folder(out, record.slide_id)
    row = {k: v for k, v in record.as_dict().items() if v is not None and v not in ("", (), {})}
    if folder is not None:
        said = read_json(folder / PREDICTION_NAME)
        row["said"] = {key: said[key] for key in SAID if said.get(key) is not None}
        try:
            row |= _pictures(folder, embeds=embeds)
        except Exception as error:  # the boundary of one slide: its files may be damaged in any way
            row["trouble"] = f"cannot be drawn: {type(error).__name__}: {error}"
    # Within a script only "<" can end it, or begin a comment.
    return Markup(json.dumps(row).replace("<", "\\u003c"))


def _pictures(folder: Path, *, embeds: bool) -> dict[str, Any]:
    preview = read_preview(folder)
    row: dict[str, Any] = {"thumbnail": preview.thumbnail, "panels": preview.panels}
    if preview.withheld:
        row["withheld"] = preview.withheld
    if embeds:
        files = {name: folder / PREVIEW_NAME / f"{name}.webp" for name in preview.panels}
        row["pictures"] = {name: data_uri(file.read_bytes()) for name, file in files.items()}
    return row


def _legend(out: Path) -> dict[str, Any] | None:
    """What the colours mean, from the first slide with a heatmap: a run has one model.

    That of a slide that failed may be an earlier run's, of another one.
    """
    for record in stream_run(out):
        folder = slide_folder(out, record.slide_id)
        if record.verdict == "failed" or folder is None or not (folder / HEATMAP_NAME).exists():
            continue
        try:
            return read_heatmap(folder / HEATMAP_NAME).channels[0].describe()
        except Exception:  # the slide's own card tells of its damage
            continue
    return None


def _about(
    out: Path, info: dict[str, Any], size: int | None
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Sections of `run.json` as headed lists of (name, value)."""
    titles = {
        "model": "Model",
        "teacher": "Nuclei teacher",
        "config": "Settings",
        "versions": "Versions",
        "machine": "Machine",
    }
    for key, title in titles.items():
        section = info.get(key)
        if isinstance(section, dict) and section:
            yield title, list(_rows(section))
    if compared := compare(out, size=size):
        yield "Estimate of raypath check", compared


def _moment(text: object) -> str:
    """A time of `run.json` for people, to the minute; as it is when it is none."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname() or ''}".strip()


def _rows(section: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values for people; what is nested twice has a row for each of its parts."""
    for name, value in section.items():
        spaced = name.replace("_", " ")
        if isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values()):
            yield from ((f"{spaced}, {part}", said) for part, said in _rows(value))
        else:
            yield spaced, _value(value)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {said}" for name, said in _rows(value)) or "none"
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    return "not set" if value is None else str(value)
