"""Where in an encoder the information is: a linear probe on each stage's averaged features.

    python -m benchmarks.pretraining.stages ENCODERS --data FOLDER

An embedding is the average of the last stage. Pretraining that asks for what is small, as nuclei
are, may leave that stage with little to do.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.pretraining.candidates import find_candidates
from benchmarks.pretraining.tasks import CLASSIFICATION
from distill.downstream.dataset import LabelledImages
from distill.downstream.embedding import view_of
from distill.encoders import Encoder, normalise

BATCH = 128
FOLDS = 4
PENALTY = 0.1  # C of the logistic regression


def main() -> None:
    """Print a markdown table: balanced accuracy of each stage of each encoder on each task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("encoders", type=Path, help="as for 'raypath benchmark pretraining'")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--task", nargs="+", default=["crchisto-type", "crchisto-cancerous"])
    parser.add_argument("--images", type=int, default=4000, help="most of each task, at random")
    options = parser.parse_args()
    print("| encoder | task | features |  | balanced accuracy |\n|---|---|---|--:|--:|")
    for candidate in find_candidates(options.encoders):
        for name in options.task:
            task = CLASSIFICATION[name]
            dataset = task.load(options.data / task.folder)
            chosen = np.random.default_rng(0).permutation(len(dataset))[: options.images]
            stages = stage_features(candidate.load(), dataset, chosen)
            named = {f"stage {i}": stage for i, stage in enumerate(stages)}
            named["all stages"] = np.concatenate(stages, axis=1)
            for features, values in named.items():
                accuracy = probe(values, dataset, chosen)
                width = values.shape[1]
                print(f"| {candidate.name} | {name} | {features} | {width} | {accuracy:.3f} |")


@torch.inference_mode()
def stage_features(
    encoder: Encoder, dataset: LabelledImages, chosen: NDArray[np.int64]
) -> list[NDArray[np.float32]]:
    """Features averaged over space, (N, D) for each stage, fine to coarse."""
    view = view_of(encoder)
    rows: list[list[NDArray[np.float32]]] = []
    for start in range(0, len(chosen), BATCH):
        images = chosen[start : start + BATCH].tolist()
        # One tile an image: these patches are smaller than what an encoder takes.
        tiles = np.concatenate([view.show(dataset.images.read(i), dataset.mpp)[:1] for i in images])
        maps = encoder.module.backbone.forward_intermediates(  # type: ignore[operator, union-attr]
            normalise(torch.from_numpy(tiles), mean=encoder.mean, std=encoder.std),
            intermediates_only=True,
        )
        rows.append([of_stage.mean((2, 3)).numpy() for of_stage in maps])
    return [np.concatenate(stage) for stage in zip(*rows, strict=True)]


def probe(
    features: NDArray[np.float32], dataset: LabelledImages, chosen: NDArray[np.int64]
) -> float:
    """Balanced accuracy of a logistic regression, each patient predicted from the others."""
    targets, owners = dataset.targets[chosen], np.asarray(dataset.owners)[chosen]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, C=PENALTY))
    said = cross_val_predict(model, features, targets, groups=owners, cv=GroupKFold(FOLDS))
    return float(np.mean([(said[targets == of] == of).mean() for of in np.unique(targets)]))


if __name__ == "__main__":
    main()
