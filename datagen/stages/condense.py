"""condense: leave out what is the same (``dedup``), then choose what is rich and balanced (``select``)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datagen import tables
from datagen.quality import condensed, cues, dedup, richness, selection
from datagen.quality.components import numbered
from datagen.quality.contrast import TYPES, contrast_groups, met_emotions
from datagen.quality.ranking import RANKING
from datagen.quality.select_config import SelectConfig
from datagen.quality.takes import Alike
from datagen.stage import Forecast, Kind, Output, Stage, StageConfig
from datagen.stages.dedup_config import DedupConfig

#: Measured by ``benchmarks/condense.py``: processor time, and memory with the rows themselves.
SECONDS_PER_MILLION = 11.0
BYTES_PER_CLIP = 1_000

_CUES = ("text_emotion", "text_sentiment", "emotion", "sentiment", "word_count")  # what cue_relation looks at

Bools = npt.NDArray[np.bool_]


def predict(clips: int) -> tuple[float, float]:
    """Processor seconds and gigabytes (1e9 bytes) that condensing so many clips takes, in one process."""
    return clips * SECONDS_PER_MILLION / 1e6, clips * BYTES_PER_CLIP / 1e9


class CondenseConfig(StageConfig):
    dedup: DedupConfig = DedupConfig()
    select: SelectConfig = SelectConfig()


class Condense(Stage):
    """The defaults of ``select`` leave nothing out: a small corpus keeps all but its duplicates.

    Reads light columns only, and decides with whole columns: what is heavy is the work of ``neighbours``. Where a
    recipe leaves that out, texts are the same when their words are equal, and nobody looks for copies by their sound.
    """

    name: ClassVar[str] = "condense"
    version: ClassVar[str] = "4"
    table: ClassVar[str] = "clips"
    kind: ClassVar[Kind] = Kind.BARRIER
    Config: ClassVar[type[StageConfig]] = CondenseConfig

    writes = tables.CONDENSE
    seeded: bool = True
    forgets: bool = True

    def __init__(self, config: StageConfig | None = None, *, seed: int = 0) -> None:
        super().__init__(config, seed=seed)
        settings = self.config.dedup
        levels = {"content": settings.content, "acoustic": settings.acoustic, "semantic": settings.semantic}
        made_by_segment = {name for name in tables.CLIPS.names if not tables.is_heavy(tables.CLIPS.field(name))}
        wanted = dict.fromkeys(
            (
                *dedup.columns(**levels),
                *selection.columns(self.config.select),
                *condensed.COLUMNS,
                *_CUES,
                "style",
            )
        )
        # Every clip has what segment writes; what annotators write may be missing.
        needed = made_by_segment | ({"text_key"} if settings.semantic else set())
        own = set(tables.CONDENSE.names) | {"clip_id"}
        self.reads = tuple(name for name in wanted if name in needed and name not in own)
        self.optional_reads = tuple(name for name in wanted if name not in needed and name not in own)

    def forecast(self, clips: int, audio_s: float, workers: int) -> Forecast:
        return Forecast(*predict(clips), how="one process, columns in memory")

    def process(self, batch: pa.Table) -> Output:
        kept_before, seen_before = self._before(batch["clip_id"])
        clusters = dedup.text_clusters(batch)
        cluster = numbered(clusters)
        settings = self.config.dedup
        same = dedup.deduplicate(
            batch,
            cluster,
            kept_before,
            selection.left_whole(batch, self.config.select),
            content=settings.content,
            acoustic=settings.acoustic,
            keep_per_cell=settings.keep_per_cell if settings.semantic else None,
            alike=Alike(**settings.alike.model_dump()),
        )
        unique = np.flatnonzero(same.stays)
        clips = batch.append_column("cue_relation", cues.cue_relation(batch))
        chosen = selection.select(
            clips,
            unique,
            contrast_groups(clips, cluster, unique).group,
            self.config.select,
            kept_before=kept_before,
            seen_before=seen_before,
            seed=self.seed,
        )
        reason = pc.coalesce(same.reasons(), chosen.reason)
        # What was dropped since may have been the other half of a contrast.
        contrast = contrast_groups(clips, cluster, np.flatnonzero(reason.is_null().to_numpy(zero_copy_only=False)))
        columns = {
            "dup_of": batch["clip_id"].take(pa.array(same.of, mask=same.of < 0)),
            "dup_why": same.why(),
            "drop_reason": reason,
            "contrast_group_id": pc.if_else(pa.array(contrast.group >= 0), clusters, None),
            "contrast_type": dedup.words(TYPES, contrast.type),
            "contrast_emotions": met_emotions(clips, contrast),
            "cue_relation": clips["cue_relation"],
            "richness": _known(chosen.richness),
            "richness_parts": pa.StructArray.from_arrays(
                [_known(chosen.parts[name]) for name in richness.PARTS], list(richness.PARTS)
            ),
            "stratum": chosen.stratum,
            "sampling_weight": _known(chosen.weight),
        }
        written = tables.cast(pa.table(columns), self.writes)
        return Output(written, dropped=reason, artifact=self._report(clips, written, chosen))

    def _before(self, ids: pa.ChunkedArray) -> tuple[Bools, Bools]:
        """Per clip whether the last commit kept it, and whether it had seen it."""
        if self.previous is None or self.anew:
            return np.zeros(len(ids), bool), np.zeros(len(ids), bool)
        # Rows the last commit had not seen are null throughout; those it had seen have a stratum.
        seen = self.previous.filter(pc.is_valid(self.previous["stratum"]))
        kept = seen.filter(pc.is_null(seen["drop_reason"]))
        was_kept, was_seen = (pc.is_in(ids, old["clip_id"].combine_chunks()).to_numpy() for old in (kept, seen))
        return was_kept, was_seen

    def _report(self, clips: pa.Table, written: pa.Table, chosen: selection.Selection) -> dict[str, Any]:
        found = condensed.figures(clips, written, selection=chosen, previous=self.previous, ranking=RANKING)
        settings = self.config.dedup
        searched = clips["text_cluster"].null_count < clips.num_rows or clips["text_key"].null_count == clips.num_rows
        return found | {
            "levels": {
                "content": "on" if settings.content else "off",
                "acoustic": ("on" if searched else "not searched: no stage neighbours") if settings.acoustic else "off",
                "semantic": f"{settings.keep_per_cell} takes alike stay" if settings.semantic else "off",
            }
        }


def _known(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array(values, pa.float64(), from_pandas=True)  # NaN = null
