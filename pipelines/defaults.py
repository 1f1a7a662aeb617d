"""The model of a run that names none: it comes with the package."""

from importlib.resources import files
from pathlib import Path

from pipelines.errors import ConfigError

PACKAGE = "models"
NAME = "default"


def default_model() -> Path:
    """The folder of the default model, which holds a teacher of nuclei and an encoder.

    Raises
    ------
    ConfigError
        If this installation has none.
    """
    from distill.card import CARD_NAME
    from distill.teachers.teacher import CARD_NAME as TEACHER_CARD_NAME

    folder = Path(str(files(PACKAGE))) / NAME
    missing = [name for name in (CARD_NAME, TEACHER_CARD_NAME) if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"no model: none was given, and {folder} has no {' and no '.join(missing)}; give "
            "--model DIR ('raypath demo' makes one in demo/model), or --teacher DIR for nuclei "
            "alone ('raypath teacher train' makes one)"
        )
    return folder
