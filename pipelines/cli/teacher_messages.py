"""What the commands of teachers tell the user beside their results."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distill.teachers.card import AnyCard
    from distill.teachers.labelled import Labelled


def say_teacher(card: "AnyCard") -> None:
    """Say which teacher it is, and under which licence: it binds what is made with it."""
    told = f"{card.architecture}, {card.mpp:g} µm/px, licence: {card.licence}"
    typer.echo(f"The teacher:  {told}", err=True)


def say_assumed(images: "Sequence[Labelled]", mpp: float, *, whose: str) -> None:
    """Say of how many images the resolution is not known, and what it is taken for."""
    unsaid = sum(image.mpp is None for image in images)
    if unsaid:
        typer.echo(
            f"{unsaid} of {len(images)} images do not say how large their pixels are: taken as "
            f"{mpp:g} µm ({whose}); if that is wrong, give --mpp",
            err=True,
        )
