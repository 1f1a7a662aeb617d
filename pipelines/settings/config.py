"""The settings of a run: one frozen tree, in which unknown keys are errors."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from pipelines.errors import ConfigError
from pipelines.settings.defaults import default_networks
from pipelines.settings.limits import LimitsConfig
from pipelines.settings.problems import problems_of
from pipelines.settings.resources import ResourcesConfig, StepResources
from wsi.preprocess import check_names
from wsi.quality import QualityLimits

Codec = Literal["auto", "zstd"]
Share = Annotated[float, Field(ge=0, le=1)]
DEFAULTS = QualityLimits()
GPU_BATCH = 32
NETWORKS = ("model", "teacher", "segmenter")  # keys that name a folder
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # of a model, in the names of its files


class QualityConfig(BaseModel):
    """Beyond what a tile is left out, see `wsi.quality.QualityLimits`; None for no limit.

    TOML has no null: ``max_pen = "off"`` there, and ``quality = "off"`` for no limit at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_pen: Share | None = DEFAULTS.max_pen
    max_dark: Share | None = DEFAULTS.max_dark
    max_blank: Share | None = DEFAULTS.max_blank
    min_focus: Share | None = DEFAULTS.min_focus

    @field_validator("*", mode="before")
    @classmethod
    def _off_is_none(cls, value: object) -> object:
        return None if value == "off" else value

    @property
    def limits(self) -> QualityLimits:
        """As the measurement takes them."""
        return QualityLimits(**self.model_dump())


class RunConfig(BaseModel):
    """What `raypath run` was asked to do, apart from the slides.

    Attributes
    ----------
    model
        Folder with `model.toml` and weights; None for no embeddings.
    also
        Folders of further models, each of another name: they embed the same tiles, which are read
        once for all.
    teacher
        Folder with `teacher.toml` and weights; None for no nuclei.
    segmenter
        Folder with `segmenter.toml` and weights; None for no tissue classes.
    bfloat16
        Whether the networks compute in bfloat16.
    device
        What the networks compute on; ``"cuda"`` is a GPU of each machine that has tasks.
    mpp
        µm per level-0 pixel of slides of which the manifest says none; overrides the files.
    stride_px
        Step between tiles in tile pixels; None for the tile's size (no overlap).
    min_tissue_fraction
        Least share of tissue in a tile, 0-1.
    quality
        Limits beyond which a tile is left out; ``"off"`` for none.
    preprocess
        Names of `wsi.preprocess.STEPS`, applied to tiles in this order before they are embedded.
    batch_size
        Tiles embedded together; 8 on a CPU, in whose caches they then are, and 32 on a GPU.
    codec
        Of the pyramid: ``"auto"`` keeps the slide's JPEG tiles where it can, ``"zstd"`` never.
    feature_dtype
        Precision of embeddings in `tiles.h5`.
    executor, address, workers
        Where tasks run: this process, a local Ray with `workers` CPUs, or the Ray at `address`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: Path | None = None
    also: tuple[Path, ...] = ()
    teacher: Path | None = None
    segmenter: Path | None = None
    bfloat16: bool = False
    device: Literal["cpu", "cuda"] = "cpu"
    mpp: float | None = Field(default=None, gt=0)
    stride_px: int | None = Field(default=None, gt=0)
    min_tissue_fraction: float = Field(default=0.25, ge=0, le=1)
    quality: QualityConfig = QualityConfig()
    preprocess: tuple[str, ...] = ()
    batch_size: int = Field(default=8, gt=0)
    codec: Codec = "auto"
    feature_dtype: Literal["float16", "float32"] = "float16"
    executor: Literal["ray", "serial"] = "ray"
    address: str | None = None
    workers: int | None = Field(default=None, gt=0)
    limits: LimitsConfig = LimitsConfig()
    resources: ResourcesConfig = ResourcesConfig()

    @model_validator(mode="before")
    @classmethod
    def _batches_suit_the_device(cls, given: dict[str, Any]) -> dict[str, Any]:
        is_gpu = given.get("device") == "cuda"
        return {"batch_size": GPU_BATCH} | given if is_gpu else given

    @field_validator("quality", mode="before")
    @classmethod
    def _off_is_no_limit(cls, value: object) -> object:
        if isinstance(value, str) and value != "off":
            raise ValueError(f"{value!r} is neither 'off' nor a table of limits")
        return dict.fromkeys(QualityConfig.model_fields) if value == "off" else value

    @field_validator("preprocess")
    @classmethod
    def _steps_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        check_names(names)
        return names

    @field_validator("also")
    @classmethod
    def _names_differ(cls, folders: tuple[Path, ...]) -> tuple[Path, ...]:
        names = [folder.resolve().name for folder in folders]
        for name in names:
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"the folder's name {name!r} becomes part of a file's: give it one of letters, "
                    "digits, dots, dashes and underscores"
                )
            if names.count(name) > 1:
                raise ValueError(f"two folders are called {name!r}, and so would be their files")
        return folders

    @model_validator(mode="after")
    def _the_others_have_a_first(self) -> "RunConfig":
        if self.also and self.model is None:
            raise ValueError("'also' embeds the tiles of a first model: name that as 'model'")
        return self

    @model_validator(mode="after")
    def _there_is_something_to_do(self) -> "RunConfig":
        if self.model is None and self.teacher is None and self.segmenter is None:
            raise ValueError("neither a model, a teacher nor a segmenter: nothing would be done")
        return self

    @property
    def models(self) -> dict[str, Path]:
        """The models' folders by name: that of the first is empty."""
        first = {"": self.model} if self.model else {}
        return first | {folder.resolve().name: folder for folder in self.also}

    @property
    def where(self) -> dict[str, Any]:
        """What results depend on of the device: a GPU rounds otherwise than CPUs, all alike."""
        return {} if self.device == "cpu" else {"device": self.device}

    def absolute(self) -> "RunConfig":
        """With the networks' folders from the root: tasks may run in another folder."""
        given = {name: getattr(self, name) for name in NETWORKS}
        update: dict[str, Any] = {n: folder.resolve() for n, folder in given.items() if folder}
        update["also"] = tuple(folder.resolve() for folder in self.also)
        return self.model_copy(update=update)


KEYS = (
    *RunConfig.model_fields,
    *map("quality.{}".format, QualityConfig.model_fields),
    *map("limits.{}".format, LimitsConfig.model_fields),
    *(
        f"resources.{s}.{k}"
        for s in ResourcesConfig.model_fields
        for k in StepResources.model_fields
    ),
)


def load_config(path: Path | None, flags: dict[str, Any]) -> RunConfig:
    """Merge a TOML file with the flags that were given (those not None), which win.

    A relative `model`, `also`, `teacher` or `segmenter` in the file is relative to the file.
    Without `model`, `teacher` and `segmenter` the first two are the default model's.

    Raises
    ------
    ConfigError
        If the file does not parse, or a key is unknown, missing or out of range.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"configuration {path}: {error}") from error
        for key in NETWORKS:
            if isinstance(values.get(key), str):
                values[key] = path.parent / values[key]
        if isinstance(values.get("also"), list):
            values["also"] = [path.parent / str(folder) for folder in values["also"]]
    values |= {key: value for key, value in flags.items() if value is not None}
    if values.keys().isdisjoint(NETWORKS):
        values |= default_networks()
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(problems_of(error, KEYS)) from error
