"""From what was asked for to pictures with their numbers beside them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.teachers.teacher import Teacher
from pipelines.explain.explanation import explain_pixels
from pipelines.explain.of_run import find_slide, highest, read_embedded
from pipelines.explain.picture import write_explanation
from pipelines.explain.regions import as_heatmap, as_table, leave_region_out
from pipelines.explain.score import head_and_class, tile_score
from pipelines.explain.tile import check_place, nuclei_at, read_at
from pipelines.heatmaps.picture import write_picture
from pipelines.model import Model
from pipelines.runfolder import IMAGE_NAME, NOTICE
from pipelines.steps.look import look
from wsi.atomic import replacing
from wsi.open import open_slide
from wsi.plan import plan_read
from wsi.ref import SlideRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A slide, the model that is asked about it, and the class.

    `target` None is the model's positive class; with a `teacher` nuclei are found too.
    """

    ref: SlideRef
    model: Model
    target: str | None = None
    teacher: Teacher | None = None


def explain_at(
    question: Question, at: tuple[int, int], out: Path, *, say: Callable[[str], None]
) -> list[Path]:
    """Explain the tile with its top-left corner `at` (x, y), level-0 pixels; returns the picture.

    Raises
    ------
    ModelError, UsageError, SlideError
        If model, place or slide cannot be used; nothing was written.
    """
    tile_score(question.model, question.target)  # a model or class of no use is told at once
    spec = question.model.encoder.spec
    with open_slide(question.ref) as slide:
        seen = look(slide, question.ref)
        mpp = seen.resolution.mpp
        plan = plan_read(spec, level0_mpp=mpp, downsamples=slide.level_downsamples)
        check_place(slide.dimensions, plan, seen.tissue, x=at[0], y=at[1])
    _explain_tile(question, at, out, level0_mpp=mpp, more={}, say=say)
    return [out]


def explain_highest(
    question: Question, run: Path, count: int, out: Path, *, say: Callable[[str], None]
) -> list[Path]:
    """Explain the tiles that score highest in a run; returns the pictures, ``-1`` the highest.

    Raises
    ------
    ModelError, UsageError, SlideError
        If model, run or slide cannot be used; nothing was written.
    """
    score, _ = tile_score(question.model, question.target)
    tiles = read_embedded(find_slide(run, question.ref), question.model)
    chosen = highest(score, tiles, count)
    level0_mpp = float(tiles.attributes["level0_mpp"])
    written = []
    for rank, (at, odds) in enumerate(chosen, start=1):
        path = out if count == 1 else out.with_stem(f"{out.stem}-{rank}")
        more = {"rank": rank, "of_tiles": len(tiles.coords), "log_odds_in_run": odds}
        _explain_tile(question, at, path, level0_mpp=level0_mpp, more=more, say=say)
        written.append(path)
    return written


def explain_regions(question: Question, run: Path, cells: int, out: Path) -> list[Path]:
    """Draw what each region of a slide adds to its score; returns the picture.

    Raises
    ------
    ModelError, UsageError
        If model or run cannot be used; nothing was written.
    """
    head, target = head_and_class(question.model, question.target)
    card = question.model.head_card
    folder = find_slide(run, question.ref)
    tiles = read_embedded(folder, question.model)
    index = card.classes.index(target)
    effects = leave_region_out(head, tiles, index=index, temperature=card.temperature, cells=cells)
    is_calibrated = card.calibrated
    what = "probability of" if is_calibrated else "score, not calibrated, for"
    title = (
        f"{question.ref.slide_id}: {what} {target} {effects.score:.3f} "
        f"(log-odds {effects.log_odds:+.2f})"
    )
    regions = as_table(effects)
    if known := [region for region in regions if region["log_odds_change"] is not None]:
        first = known[0]
        # The change and not what is left of the score, which often has the same first digits.
        title += (
            f"\nWithout the region at x {first['x']:.0f}, y {first['y']:.0f}, which changes most, "
            f"it {'falls' if first['log_odds_change'] > 0 else 'rises'} by "
            f"{100 * abs(first['score_change']):.3g} percentage points "
            f"(log-odds {abs(first['log_odds_change']):.3g})"
        )
    heatmap = as_heatmap(effects, tiles, target=target, is_calibrated=is_calibrated)
    write_picture(out, folder / IMAGE_NAME, heatmap, title=title, channels=2)
    numbers = {
        "score": effects.score,
        "log_odds": effects.log_odds,
        "calibrated": is_calibrated,
        "temperature": card.temperature,
        "regions": regions,
    }
    _write_numbers(out, question, target, numbers)
    return [out]


def _explain_tile(
    question: Question,
    at: tuple[int, int],
    out: Path,
    *,
    level0_mpp: float,
    more: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    score, target = tile_score(question.model, question.target)
    encoder, teacher = question.model.encoder, question.teacher
    x, y = at
    with open_slide(question.ref) as slide:
        pixels = read_at(slide, encoder.spec, level0_mpp=level0_mpp, x=x, y=y)
        nuclei = None
        if teacher is not None:
            nuclei = nuclei_at(slide, teacher, encoder.spec, level0_mpp=level0_mpp, x=x, y=y)
    title = f"{question.ref.slide_id}, tile at x {x}, y {y}"
    explained = explain_pixels(
        score, encoder, pixels, nuclei=nuclei, say=lambda what: say(f"{title}: {what}")
    )
    write_explanation(out, explained, target=target, title=title, mpp=encoder.spec.mpp)
    place = {"x": x, "y": y, "size_px": encoder.spec.size_px, "mpp": encoder.spec.mpp}
    numbers = {"tile": place | {"level0_mpp": level0_mpp}} | more | explained.as_dict()
    if teacher is not None:
        numbers["teacher_sha256"] = teacher.sha256
    _write_numbers(out, question, target, numbers)


def _write_numbers(out: Path, question: Question, target: str, numbers: dict[str, Any]) -> None:
    about = {
        "slide_id": question.ref.slide_id,
        "path": str(question.ref.path),
        "class": target,
        "encoder": question.model.encoder.identifier,
        "model_sha256": question.model.sha256,
        "notice": NOTICE,
    }
    with replacing(out.with_suffix(".json")) as tmp:
        tmp.write_text(json.dumps(about | numbers, indent=1, allow_nan=False))
