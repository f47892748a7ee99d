"""The stage contract: what a stage says of itself, and the three calls it answers.

A stage knows nothing of Ray, shards or files. It says which columns it reads and writes, and turns an Arrow
table into an Arrow table. Columns are named without their table: a stage on ``samples`` that reads
``transcript`` gets it joined from ``clips``.

    class Loudness(Stage):
        name, version, table, kind = "loudness", "1", "clips", Kind.MAP
        reads = ("audio",)
        writes = pa.schema([("peak", pa.float64())])

        def process(self, batch):
            peaks, rejects = [], []
            for row, audio in enumerate(batch["audio"].to_pylist()):
                ...
            return Output(pa.table({"peak": peaks}), rejects)

Third parties register theirs under the entry point group ``datagen.stages``.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from datagen.llm.asking import Asker
    from datagen.llm.settings import LlmConfig


class Kind(enum.StrEnum):
    MAP = "map"  #: one row in, the same row with more columns out
    EXPAND = "expand"  #: one row in, any number of rows of the next table out
    BARRIER = "barrier"  #: all rows of the run at once, in one batch; columns and/or an artifact out
    SINK = "sink"  #: reads the finished run, writes files outside it (export)


class StageConfig(BaseModel):
    """Semantic settings of a stage: all of them are part of its key. Unknown keys are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def idle(self) -> frozenset[str]:
        """Settings that nobody looks at as the others stand (those of another backend): no part of the key."""
        return frozenset()


class Resources(BaseModel):
    """What one worker of a stage needs. Never part of a key: resources do not change results."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpus: float = Field(1.0, ge=0)
    gpus: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        0.0, description="per worker; fractions are allowed; auto = the stage's usual share where there is a GPU"
    )
    memory_gb: float = Field(0.0, ge=0, description="0 = not reserved")
    workers: int | None = Field(None, ge=1, description="None = as many as fit")
    python: str | None = Field(None, description="interpreter of another environment; None = this one")
    batch_timeout_s: float | None = Field(None, gt=0, description="None = from the batch's audio seconds")
    recycle_hours: float | None = Field(
        None, gt=0, description="hours of audio after which a worker makes way for a fresh one (memory creeps)"
    )

    @property
    def fixed_gpus(self) -> float:
        """``gpus`` once ``auto`` has been settled; executors never see ``auto``."""
        if self.gpus == "auto":
            raise ValueError("gpus: auto has not been settled")
        return float(self.gpus)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who made a label (law 6). Goes into the unit's record and from there into the data card.

    ``permissions`` limits what may be done with the columns this maker wrote; see ``quality/licences.py``.
    """

    model: str
    revision: str
    licence: str
    columns: tuple[str, ...] = ()
    note: str = ""
    #: (column, value): only rows where it holds were made by this maker, e.g. ("label_source", "pseudo").
    where: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that could not be processed. ``row`` is its index in the batch."""

    row: int
    error_class: str
    message: str


@dataclass(frozen=True, slots=True)
class Drop:
    """A row left out on purpose (a duplicate, no speech in it). ``row`` is its index in the batch."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a barrier will take for a number of clips, from constants that a benchmark measured."""

    seconds: float  #: with all workers busy
    memory_gb: float  #: of its largest task
    disk_gb: float = 0.0  #: of the run's scratch folder while it is under way
    how: str = ""  #: the method, in a few words


@dataclass(slots=True)
class Output:
    """What ``process`` returns.

    Map and barrier: ``columns`` has exactly the batch's rows, in order; rows that are rejected hold nulls
    (whatever else stands there is overwritten with nulls). Dropped rows keep their columns.

    Expand: ``created`` maps a table name to its new rows, each with the parent's id column, in parent order.
    A parent without children must be in ``rejects`` or ``drops``: the engine refuses a silent loss.
    """

    columns: pa.Table | None = None
    rejects: list[Reject] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    #: Instead of ``drops``, where there are millions: a reason per row of the batch, null for those that stay.
    dropped: pa.Array | None = None
    created: dict[str, pa.Table] = field(default_factory=dict)
    artifact: dict[str, Any] | None = None  #: barriers only: JSON-able, read by stages that name this one
    #: What the work cost, added up over a stage: "audio_s" of clips, "padded_s" that models were given for them (see
    #: ``models/batching.py``), "fed_s" that of it without padding where it is not "audio_s". Never in a key.
    metrics: dict[str, float] = field(default_factory=dict)


class Stage(ABC):
    """Base of all stages. Subclasses set the class attributes; ``reads`` etc. may be set per instance too."""

    name: ClassVar[str]
    version: ClassVar[str]  #: raise it whenever the same input and config may give other output
    table: ClassVar[str]  #: whose rows come in (key of ``tables.ID``)
    kind: ClassVar[Kind] = Kind.MAP
    Config: ClassVar[type[StageConfig]] = StageConfig
    resources: ClassVar[Resources] = Resources()
    gpu_share: ClassVar[float] = 0.25  #: what ``gpus: auto`` means for one worker where there is a GPU

    reads: tuple[str, ...] = ()  #: columns that must exist, or the recipe is refused
    optional_reads: tuple[str, ...] = ()  #: null columns when no stage of the recipe writes them
    reads_artifacts: tuple[str, ...] = ()  #: names of barriers whose artifact is needed
    writes: pa.Schema = pa.schema([])  #: columns added to ``table``
    creates: Mapping[str, pa.Schema] = {}  #: expand only: tables whose rows are made here
    seeded: bool = False  #: whether the recipe's seed is part of the key
    #: Barriers only. A frozen barrier is fitted once; new input does not refit it without ``--refit``.
    frozen: bool = False
    #: Barriers only. ``--refit`` makes it decide anew (``anew``); splits, say, stay pinned even then.
    forgets: bool = False
    #: Memory that a worker takes beside its models; bounds how many workers there are where none is reserved.
    holds_gb: float = 0.0
    batch_rows: int = 256  #: most rows per ``process`` call
    batch_seconds: float | None = None  #: most audio seconds per call (needs column ``duration``)

    def __init__(self, config: StageConfig | None = None, *, seed: int = 0) -> None:
        self.config: Any = config if config is not None else self.Config()
        self.seed = seed
        self.artifacts: Mapping[str, dict[str, Any]] = {}  #: set by the engine before ``setup``
        #: Barriers only, set by the engine: this stage's own output (id + ``writes``) over the rows of the last
        #: commit with the same config, or None. Lets a grown corpus keep what was decided before.
        self.previous: pa.Table | None = None
        #: Set by the engine before ``setup`` where ``asks`` names a language model.
        self.asker: Asker | None = None
        self.anew = False  #: ``previous`` is only there to say what has changed; nothing in it is to be kept to

    @classmethod
    def wants(cls, config: Any) -> Resources:
        """Resources of a worker unless the recipe says otherwise; a backend with a big model wants more."""
        return cls.resources

    def semantics(self) -> dict[str, Any]:
        """What besides name, version and config decides the output: model revisions, prompt texts. JSON-able."""
        return {}

    def provenance(self) -> tuple[Provenance, ...]:
        """Makers of the columns this stage writes."""
        return ()

    def models(self) -> tuple[Any, ...]:
        """Models (``datagen.models.manifest.Model``) that ``setup`` loads with this config. Must be cheap."""
        return ()

    def check(self) -> str | None:
        """Why this stage cannot run here (a missing package or model, and the mend), or None. Must be cheap."""
        return None

    def asks(self) -> LlmConfig | None:
        """The language model that ``process`` puts questions to, or None. A stage that may ask one has a setting
        ``llm`` (``LlmConfig``), into which the recipe's own ``llm`` section is laid."""
        return None

    def notes(self, metrics: Mapping[str, float]) -> list[str]:
        """What a person should know of the finished work, from its ``Output.metrics``: sentences with the mend."""
        return []

    def forecast(self, clips: int, audio_s: float, workers: int) -> Forecast | None:
        """Barriers only: what ``datagen plan`` says before it has ever run. None = nothing is known."""
        return None

    def setup(self) -> None:  # noqa: B027 (a hook that most leave as it is)
        """Once per worker: load models."""

    @abstractmethod
    def process(self, batch: pa.Table) -> Output:
        """Batch of rows -> columns or rows. Columns of ``batch``: the table's id, ``reads``, ``optional_reads``.

        Raise ``RowError`` only when the batch has one row or the stage cannot tell which row is at fault: the
        engine then bisects. Any other exception is retried and bisected likewise.
        """

    def teardown(self) -> None:  # noqa: B027
        """Once per worker, at its end."""
