"""How good labels made from haematoxylin are: against nuclei that people labelled.

python -m benchmarks.labelling --images FOLDER --mpp 0.25
"""

import argparse
from pathlib import Path

from distill.metrics import score, summarise
from distill.teachers.haematoxylin import label_by_haematoxylin
from distill.teachers.read import read_labelled
from wsi.stain import NotEstimable


def main() -> None:
    """Print the mean of each measure, and its 95 % interval over images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="as for 'raypath teacher'")
    parser.add_argument("--mpp", type=float, required=True, help="where the images do not say it")
    options = parser.parse_args()
    scores = []
    for image in read_labelled(options.images, mpp=options.mpp):
        found = label_by_haematoxylin(image.pixels, mpp=image.mpp or options.mpp)
        if image.complete and not isinstance(found, NotEstimable):
            scores.append(score(image.instances, found))
    print(f"{len(scores)} images")
    for name, of in summarise(scores).items():
        print(f"{name:10} {of.mean:.3f} ({of.low:.3f}-{of.high:.3f})")


if __name__ == "__main__":
    main()
