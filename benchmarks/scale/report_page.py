"""How the report bears many slides: its making, its size, and how fast a browser shows it.

python -m benchmarks.scale.report_page RUN [--slides 10 1000 10000] [--runs 3] [--keep DIR]

RUN is the folder of a finished run. Its records and the pictures of its slides are used over and
over under new ids, every 50th as failed, so that pictures and numbers are real. The browser is the
system's Chromium; without one its columns are left out.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from benchmarks.speed.measure import BenchmarkError, Contender, Work, measure_in_turns
from pipelines.records import SlideRecord, write_records
from pipelines.report.preview import PREVIEW_NAME, read_preview
from pipelines.report.report import write_report
from pipelines.runfolder import (
    INFO_NAME,
    PREDICTION_NAME,
    RECORDS_NAME,
    REPORT_NAME,
    SLIDES_NAME,
    read_run,
)

FAILED_EACH = 50
CLICKS = {  # what is timed in the page: from the event to the frame that shows its effect
    "search ms": "byId('search').value = '77'; choose()",
    "filter ms": "byId('search').value = ''; byId('pick-failed').click(); choose()",
    "sort ms": "byId('pick-all').click(); byId('sort').value = 'score'; choose()",
    "next ms": "document.querySelector('.pages button:last-child')?.click()",
}
TO_NEXT_FRAME = """async () => {
  const started = performance.now();
  %s;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - started;
}"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a row a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--slides", type=int, nargs="+", default=[10, 1000, 10_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="leave the runs made up here")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        runs = [make_up(given.run, folder / f"run-{n}", n) for n in given.slides]
        contenders = [
            Contender(name=run.name, prepare=partial(_reporting, run), role="ours") for run in runs
        ]
        made = measure_in_turns(contenders, runs=given.runs)
        rows = []
        for count, run, result in zip(given.slides, runs, made, strict=True):
            row = {"slides": count, "making s": result.median}
            row |= {"ms a slide": result.median * 1000 / count}
            row |= {"peak MiB": result.peak_bytes / (1 << 20)}
            row |= {"page MB": (run / REPORT_NAME).stat().st_size / 1e6}
            rows.append(row | browse(run / REPORT_NAME, runs=given.runs))
    print(" ".join(f"{name:>12}" for name in rows[0]))
    for row in rows:
        print(
            " ".join(f"{value:>12,.4g}" if value % 1 else f"{value:>12,}" for value in row.values())
        )


def make_up(run: Path, out: Path, count: int) -> Path:
    """Write a run of `count` slides from the slides of another; returns its folder.

    Raises
    ------
    BenchmarkError
        If no slide of `run` has a picture.
    """
    seen = read_run(run)
    folders = {r.slide_id: seen.slide_folder(r.slide_id) for r in seen.records}
    drawn = {i: f for i, f in folders.items() if f is not None and read_preview(f).panels}
    if not drawn:
        raise BenchmarkError(f"no slide of {run} has a picture: give a finished run")
    (out / SLIDES_NAME).mkdir(parents=True)
    shutil.copy(run / INFO_NAME, out / INFO_NAME)
    records = []
    originals = cycle([record for record in seen.records if record.slide_id in drawn])
    for number, record in enumerate(islice(originals, count)):
        slide_id = f"slide_{number:06d}"
        if number % FAILED_EACH == FAILED_EACH - 1:
            records.append(_failed(slide_id, record.path))
            continue
        folder, original = out / SLIDES_NAME / slide_id, drawn[record.slide_id]
        # Links: ten thousand copies would fill a small disk.
        shutil.copytree(original / PREVIEW_NAME, folder / PREVIEW_NAME, copy_function=os.link)
        if (original / PREDICTION_NAME).exists():
            os.link(original / PREDICTION_NAME, folder / PREDICTION_NAME)
        records.append(replace(record, slide_id=slide_id, patient_id=f"patient_{number // 3}"))
    write_records(out / RECORDS_NAME, records)
    return out


def browse(report: Path, *, runs: int) -> dict[str, float]:
    """Medians of the times in Chromium; empty without it."""
    executable = shutil.which("chromium")
    if executable is None:
        return {}
    from playwright.sync_api import sync_playwright

    seen: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        for _ in range(runs):
            browser = playwright.chromium.launch(
                executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(report.resolve().as_uri(), wait_until="commit")
            page.wait_for_selector("[data-id]")
            first = page.evaluate("performance.now() / 1000")
            seen.setdefault("first row s", []).append(first)
            page.wait_for_function("document.readyState == 'complete'")
            for name, action in CLICKS.items():
                seen.setdefault(name, []).append(page.evaluate(TO_NEXT_FRAME % action))
            heap = page.evaluate("performance.memory.usedJSHeapSize / 1e6")
            seen.setdefault("heap MB", []).append(heap)
            browser.close()
    return {name: statistics.median(values) for name, values in seen.items()}


def _reporting(run: Path, scratch: Path) -> Work:
    return partial(write_report, run)


def _failed(slide_id: str, path: str) -> SlideRecord:
    return SlideRecord(
        slide_id=slide_id,
        path=path,
        verdict="failed",
        reason="no_mpp",
        message="nothing in the file says how large a pixel is: give µm per pixel with --mpp",
    )


if __name__ == "__main__":
    main()
