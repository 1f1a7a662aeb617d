"""A real run that takes seconds: three made-up slides, a small encoder and head."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from distill.card import EncoderCard, ModelCard, TileCard, TrainingCard
from distill.encoders import create_encoder
from pipelines.mil.heads.registry import create_head
from pipelines.mil.training import TrainedHead
from pipelines.model import save_model
from pipelines.receipts import RECEIPT_NAME, read_receipts
from pipelines.records import SlideRecord, read_records
from pipelines.runfolder import RECORDS_NAME, SLIDES_NAME
from wsi.atomic import digest
from wsi.plan import TileSpec
from wsi.testing import Specimen, write_slide

NETWORK = "test_convnext"  # timm's smallest
SPEC = TileSpec(size_px=96, mpp=1.0)
TRAINING = TrainingCard(data="none", data_licence="CC0", method="random weights")
# Of a record: what is of the try, not of the slide.
OF_THE_TRY = (
    *("seconds", "waited_s", "worked_s", "peak_rss_bytes", "peak_is_bound"),
    *("reused", "n_reused_tiles"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Slides and networks in a folder."""

    folder: Path

    def command(self, out: Path, *flags: str) -> list[str]:
        """The run, with its results in `out`."""
        raypath = Path(sys.executable).with_name("raypath")
        given = ["--model", "model", "--quality", "off", *flags]
        return [str(raypath), "run", str(self.folder / "slides"), "-o", str(out), *given]

    def start(self, out: Path, *flags: str) -> subprocess.Popen[bytes]:
        """Start the run; its words go into a file beside `out`."""
        with out.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                self.command(out, *flags), stdout=log, stderr=log, cwd=self.folder
            )


def make_workload(folder: Path, *, slides: int = 3) -> Workload:
    """Make the slides and networks."""
    for seed in range(slides):
        path = folder / "slides" / f"slide {seed}.svs"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_slide(path, Specimen(seed=seed, width=500 + 200 * seed, height=500))
    encoder = create_encoder(NETWORK, spec=SPEC)
    about = EncoderCard(
        architecture=NETWORK,
        identifier=NETWORK,
        dim=encoder.dim,
        mean=encoder.mean,
        std=encoder.std,
        licence="CC0",
    )
    head = TrainedHead(
        kind="mean",
        head=create_head("mean", encoder.dim, 2, {}).eval(),
        classes=("normal", "tumour"),
        positive="tumour",
        threshold=0.5,
        n_tune=0,
        tune_loss=[],
        train_loss=[],
    )
    tile = TileCard(size_px=SPEC.size_px, mpp=SPEC.mpp)
    save_model(
        folder / "model", ModelCard(encoder=about, tile=tile, training=TRAINING), encoder, head
    )
    return Workload(folder=folder)


def results(out: Path) -> dict[str, str]:
    """All that a run leaves for people and programs: the digest of each file, and each record.

    Only times and memory, and what of it an earlier try had done, may differ between two runs.
    """
    found = {
        path.relative_to(out).as_posix(): digest(path)
        for path in (out / SLIDES_NAME).rglob("*")
        if path.is_file()
    }
    for record in read_records(out / RECORDS_NAME):
        said = {k: v for k, v in asdict(record).items() if k not in OF_THE_TRY}
        found[f"record of {record.slide_id}"] = json.dumps(said, sort_keys=True)
    return found


def steps_done(out: Path) -> set[tuple[str, str]]:
    """(slide, step) of every receipt there is."""
    found = set()
    for receipt in (out / SLIDES_NAME).glob(f"*/{RECEIPT_NAME}"):
        found |= {(receipt.parent.name, step) for step in read_receipts(receipt.parent)}
    return found


def steps_reused(records: Iterable[SlideRecord]) -> set[tuple[str, str]]:
    """(slide, step) of every step that was not done again."""
    return {(record.slide_id, step) for record in records for step in record.reused}
