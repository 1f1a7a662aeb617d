"""What a run works with that names no network: it comes with the package."""

from importlib.resources import files
from pathlib import Path

from pipelines.errors import ConfigError

PACKAGE = "models"
NAME = "default"


def default_networks() -> dict[str, Path]:
    """The folder of the default teacher of nuclei and, where there is one, of the encoder, by key.

    Raises
    ------
    ConfigError
        If this installation has none.
    """
    from distill.card import CARD_NAME
    from distill.teachers.card import CARD_NAME as TEACHER_CARD_NAME

    folder = Path(str(files(PACKAGE))) / NAME
    if not (folder / TEACHER_CARD_NAME).is_file():
        raise ConfigError(
            f"no model: none was given, and {folder} has no {TEACHER_CARD_NAME}; give --model DIR "
            "('raypath demo' makes one in demo/model), or --teacher DIR for nuclei alone "
            "('raypath teacher train' makes one)"
        )
    networks = {"teacher": folder}
    return networks | {"model": folder} if (folder / CARD_NAME).is_file() else networks
