"""`raypath demo`: the whole chain on made-up slides, and where to look afterwards."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.program import program

if TYPE_CHECKING:
    from pipelines.demo.demo import DemoResult


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the demo.")] = Path("demo"),
    small: Annotated[
        bool, typer.Option("--small", help="A few small slides and short training: a smoke test.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(help="CPUs of the local Ray; default: all that may be used.")
    ] = None,
) -> None:
    """Make slides with known truth, pretrain, train, run all on Ray, and compare.

    Leaves a model for --model in OUT/model, results in OUT/out and slides in OUT/slides. The
    model knows made-up tissue only: it shows the chain, it does not diagnose.
    """
    from cluster.ray_executor import RayExecutor
    from pipelines.demo.demo import DemoSettings, run_demo

    settings = DemoSettings()
    if small:
        settings = DemoSettings(
            patients=8,
            size_px=1024,
            large_px=2048,
            teacher_crops=32,
            teacher_steps=12,
            student_tiles=48,
            student_steps=20,
        )
    with RayExecutor(workers=workers) as executor:
        result = run_demo(out, settings, executor, say=lambda line: typer.echo(line, err=True))
    _show(result, out)
    if result.counts.get("failed"):
        raise typer.Exit(1)


def _show(result: "DemoResult", out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="raypath demo", show_header=False, title_justify="left")
    counts = result.counts
    rows = [
        ("slides ok / partial / failed", " / ".join(str(n) for n in counts.values())),
        ("held-out slides, AUROC", str(result.auroc)),
        ("heatmap against tumour mask, AUROC", f"{result.heatmap_auroc:.3f}"),
    ]
    if result.alignment:
        rows += [
            ("heatmap alignment error", f"{result.alignment.heatmap_px:.2f} level-0 px"),
            ("pyramid alignment error", f"{result.alignment.image_px:.2f} level-0 px"),
        ]
    teacher, student = result.teacher_held_out, result.student_held_out
    rows += [
        ("teacher against nuclei truth, Dice", f"{teacher['dice']:.3f}"),
        ("student against teacher, Dice", f"{student['dice']:.3f}"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    table.add_section()
    for name, seconds in result.seconds.items():
        table.add_row(name, f"{seconds:.1f} s")
    table.add_row("total", f"{sum(result.seconds.values()):.1f} s")
    Console(soft_wrap=True).print(table)
    typer.echo(f"The viewer:  {program()} view {out / 'out'}")
    typer.echo(f"The report:  {out / 'out' / 'report.html'}")
    typer.echo(f"Your slides: {program()} run SLIDES -o OUT --model {out / 'model'}")
