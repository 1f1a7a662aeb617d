"""`raypath pretrain`: an encoder from tissue without labels, by one of several objectives."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.cli.bar import progress_bar
from pipelines.cli.following import following
from pipelines.cli.options import LEAST_MPP, MOST_MPP, Bfloat16, Device, Half, ImageMpp, one_each
from pipelines.cli.pretrain_responses import taught
from pipelines.cli.training import LearningRate, Resume

if TYPE_CHECKING:
    from distill.progress import Progress
    from pipelines.pretraining.job import PretrainJob


def pretrain(
    objective: Annotated[
        str,
        typer.Argument(
            help="rckd, supervised-nuclei, barlow, moco; or without training, random, imagenet."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the model.")],
    tiles: Annotated[
        list[str] | None,
        typer.Option(help="Folder of images, .npz, slide, or manifest; repeat it for several."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="For imagenet: a state dict of the network of timm, safetensors or .pth."
        ),
    ] = None,
    architecture: Annotated[str, typer.Option(help="csat, or any network of timm.")] = "resnet18",
    steps: Annotated[int, typer.Option(min=1)] = 5000,
    batch: Annotated[int, typer.Option(min=2, help="Tiles a step.")] = 32,
    teacher: Annotated[Path | None, typer.Option(help="For rckd: a teacher's folder.")] = None,
    responses: Annotated[
        Path | None,
        typer.Option(help="Where the teacher's responses are kept.", show_default="OUT-responses"),
    ] = None,
    mpp: ImageMpp = None,
    tile_mpp: Annotated[
        float, typer.Option(min=LEAST_MPP, max=MOST_MPP, help="µm per pixel to pretrain at.")
    ] = 0.5,
    tile_px: Annotated[int, typer.Option(help="Edge of a tile.")] = 256,
    crop: Annotated[int, typer.Option(help="Edge of what the network sees of a tile.")] = 224,
    embed_px: Annotated[
        int | None,
        typer.Option(help="Edge of the tiles that the model takes.", show_default="--crop"),
    ] = None,
    features: Annotated[
        Literal["last", "stages"] | None,
        typer.Option(
            help="What embeddings average: the last feature map, or every stage's.",
            show_default="stages; last for networks of tokens",
        ),
    ] = None,
    context: Annotated[int, typer.Option(help="Pixels around a tile that the teacher sees.")] = 32,
    slide_tiles: Annotated[int, typer.Option(help="Most tiles from one slide.")] = 500,
    upsample: Annotated[
        bool, typer.Option("--upsample", help="Enlarge images coarser than --tile-mpp.")
    ] = False,
    learning_rate: LearningRate = 1e-3,
    seed: Annotated[int, typer.Option(help="Of weights, held-out tiles and augmentation.")] = 0,
    device: Device = "cpu",
    bfloat16: Bfloat16 = False,
    half: Half = False,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches a step.")] = 1,
    average: Annotated[
        float | None,
        typer.Option(
            help="Decay of the average of the weights that is kept; 0 for none.",
            show_default="0.999 from 500 steps on, otherwise 0",
        ),
    ] = None,
    share: Annotated[float, typer.Option(help="Of the tiles to train on, 0-1.")] = 1.0,
    hard: Annotated[
        bool, typer.Option("--hard", help="Take the teacher's probabilities for yes or no.")
    ] = False,
    nuclei_only: Annotated[
        bool, typer.Option("--nuclei-only", help="Teach the nuclei map, not the distances.")
    ] = False,
    gradient_loss: Annotated[
        bool, typer.Option("--gradient-loss", help="Also teach the distances' gradients.")
    ] = False,
    temperature: Annotated[
        float, typer.Option(help="At which probabilities are compared; 1 or more.")
    ] = 1.0,
    no_appearance: Annotated[
        bool,
        typer.Option("--no-appearance", help="Teach where nuclei are, not what they look like."),
    ] = False,
    colour: Annotated[
        float | None,
        typer.Option(
            help="How much stain and light are varied, 0-1.",
            show_default="1 for barlow and moco, 0 otherwise",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Responses are computed by so many tasks, above 1 on Ray.")
    ] = 1,
    trainers: Annotated[
        int, typer.Option(min=1, help="Processes that share each batch, above 1 on Ray.")
    ] = 1,
    resume: Resume = False,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for the curves, where TensorBoard is installed.")
    ] = None,
    licence: Annotated[
        str,
        typer.Option(help="Of the tiles or --weights; it binds the model and goes into its card."),
    ] = "not stated",
) -> None:
    """Pretrain an encoder and write its folder, usable by 'raypath run --model'.

    All objectives see the same tiles, steps, batches and schedule for the same seed. Of the
    images or slides, a tenth is held out to measure on. curves.csv and curves.png are written at
    each look at it, twenty times in all.
    """
    from distill.card import CARD_NAME, read_card
    from distill.curves import CSV_NAME, read_last
    from distill.objectives.objective import COLOUR, OBJECTIVES
    from distill.objectives.response_loss import ResponseLoss
    from pipelines.errors import UsageError
    from pipelines.pretraining.job import PretrainJob, PretrainSettings
    from pipelines.pretraining.run import check_network, run_pretraining
    from pipelines.pretraining.sources import TileRequest
    from pipelines.pretraining.watching import require_tensorboard
    from pipelines.training.resuming import refuse_finished
    from wsi.plan import TileSpec

    if not resume:
        refuse_finished(out / CARD_NAME)
    if objective == "imagenet":
        from pipelines.pretraining.imagenet import import_imagenet

        if tiles or weights is None:
            raise UsageError("imagenet: others trained it; give --weights FILE, and no --tiles")
        spec = TileSpec(size_px=embed_px or crop, mpp=tile_mpp)
        import_imagenet(
            weights, architecture, out, spec=spec, licence=licence, features=features, half=half
        )
        return
    if objective not in OBJECTIVES:
        known = ", ".join([*OBJECTIVES, "imagenet"])
        raise UsageError(f"no objective is called {objective!r}: known are {known}")
    if not tiles or weights:
        raise UsageError(f"{objective}: give --tiles; --weights is for imagenet")
    if (objective == "rckd") != (teacher is not None):
        raise UsageError(f"{objective}: --teacher is for rckd, which needs one")
    if tensorboard:
        require_tensorboard()
    request = TileRequest(
        spec=TileSpec(size_px=tile_px, mpp=tile_mpp),
        context_px=context,
        slide_tiles=slide_tiles,
        upsample=upsample,
        labelled=objective == "supervised-nuclei",
        seed=seed,
    )
    loss = ResponseLoss(
        hard=hard,
        distances=not nuclei_only,
        gradients=gradient_loss,
        temperature=temperature,
        appearance=not no_appearance,
    )
    if loss != ResponseLoss() and objective not in ("rckd", "supervised-nuclei"):
        raise UsageError(
            f"{objective} has no nuclei maps: --hard, --nuclei-only, --gradient-loss, "
            "--temperature and --no-appearance are for rckd and supervised-nuclei"
        )
    job = PretrainJob(
        sources=tuple(tiles),
        mpps=tuple(one_each(mpp or [], len(tiles), flag="--tiles")),
        request=request,
        settings=PretrainSettings(
            objective=objective,
            architecture=architecture,
            steps=steps,
            batch_size=batch,
            accumulate=accumulate,
            crop_px=crop,
            embed_px=embed_px,
            features=features,
            learning_rate=learning_rate,
            average_decay=average,
            share=share,
            loss=loss,
            colour=COLOUR[objective] if colour is None else colour,
            seed=seed,
            device=device,
            bfloat16=bfloat16,
            half=half,
            data=", ".join(Path(source).name for source in tiles),
            licence=licence,
        ),
        out=out,
        resume=resume,
        tensorboard=tensorboard,
    )
    check_network(job.settings)
    cost = None
    if teacher:
        folder = responses or out.with_name(f"{out.name}-responses")
        job, cost = taught(job, teacher, folder, workers)
    with progress_bar("steps", steps) as advance:
        if trainers > 1:
            from cluster.train import train_together

            def tell(curves: Path) -> None:
                step, loss, measured = read_last(curves)
                advance(step, _describe(loss, measured))

            with following(out / CSV_NAME, tell):
                train_together(
                    partial(run_pretraining, _absolute(job), cost=cost),
                    workers=trainers,
                    gpu=device.startswith("cuda"),
                )
        else:
            said = teacher is not None  # by `taught`
            say = (lambda _: None) if said else partial(typer.echo, err=True)
            run_pretraining(job, cost=cost, report=partial(_report, advance), say=say)
    for name, value in read_card(out).training.measures.items():
        typer.echo(f"{name:22}{value:g}")


def _absolute(job: "PretrainJob") -> "PretrainJob":
    """The same job for processes that may run elsewhere."""
    return replace(
        job,
        sources=tuple(str(Path(s).absolute()) if Path(s).exists() else s for s in job.sources),
        out=job.out.absolute(),
        tensorboard=job.tensorboard and job.tensorboard.absolute(),
        responses=job.responses and job.responses.absolute(),
    )


def _report(advance: Callable[[int, str], None], progress: "Progress") -> None:
    last = progress.checks[max(progress.checks)] if progress.rows else {}
    advance(len(progress.losses), _describe(progress.losses[-1], last))


def _describe(loss: float, measured: Mapping[str, float]) -> str:
    words = [f"loss {loss:.3f}"]
    return "  ".join([*words, *(f"{n.replace('_', ' ')} {v:.3f}" for n, v in measured.items())])
