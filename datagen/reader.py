"""A finished run as others see it: the rows that came through, their columns, where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

import datagen
from datagen.config import Recipe
from datagen.plan import Plan, provenance
from datagen.stage import Kind
from datagen.status import stage_counts
from datagen.store import Store
from datagen.tables import ID, PARENT, REJECTS


class RunView:
    """Implements ``datagen.export.run.RunReader`` over a store whose plan is done."""

    datagen_version = datagen.__version__

    def __init__(self, plan: Plan, store: Store, recipe: Recipe) -> None:
        self._plan, self._store, self._recipe = plan, store, recipe

    @property
    def shards(self) -> Sequence[int]:
        return self._plan.shards

    @property
    def recipe(self) -> dict[str, Any]:
        return self._recipe.document()

    @property
    def provenance(self) -> list[dict[str, Any]]:
        hashes = {name: self._plan.config_hash(name) for name in self._plan.pipeline.stages}
        return provenance(self._plan.pipeline, hashes)

    @property
    def counts(self) -> list[dict[str, Any]]:
        return [
            {"name": c.stage, "rows_in": c.rows_in, "ok": c.ok, "rejected": c.rejected, "dropped": c.dropped,
             "seconds": c.seconds, "why": {**c.dropped_why, **c.rejected_why}, "metrics": c.metrics}
            for c in stage_counts(self._plan, self._store)
            if c.table != "run"
        ]  # fmt: skip

    @property
    def artifacts(self) -> dict[str, dict[str, Any]]:
        found = {}
        for name in self._plan.pipeline.order:
            if self._plan.pipeline.stages[name].kind is Kind.BARRIER:
                unit = self._plan.done(name, None)
                if unit and "artifact_digest" in (self._store.record(unit) or {}):
                    found[name] = self._store.artifact(unit)
        return found

    def read(self, table: str, shard: int, columns: list[str]) -> pa.Table:
        """Live rows of one shard; see ``RunReader.read``."""
        rows = self._store.read(self._plan.table_plan(table, shard, self._with_parents(table, columns)))
        parent = PARENT.get(table)
        if parent == "clips":  # a sample whose clip a later annotator refused has no clip to be heard
            alive = self._store.read(self._plan.table_plan("clips", shard, []))["clip_id"]
            rows = rows.filter(pa.compute.is_in(rows["clip_id"], alive.combine_chunks()))
        return rows.select(columns)

    @staticmethod
    def _with_parents(table: str, columns: list[str]) -> list[str]:
        extra = [ID["clips"]] if table == "samples" and ID["clips"] not in columns else []
        return [name for name in [*columns, *extra] if name != ID[table]]

    def rejects(self) -> pa.Table:
        return all_rejects(self._plan, self._store)


def all_rejects(plan: Plan, store: Store) -> pa.Table:
    """Every refused row of the run as it stands, the input rows that never became a recording first."""
    found = [REJECTS.empty_table()]
    if store.files.exists("refused.parquet"):
        found.append(store.files.read_table("refused.parquet"))
    for name in plan.pipeline.order:
        for shard in [None] if plan.pipeline.whole(name) else plan.shards:
            unit = plan.done(name, shard)
            if unit is not None:
                found.append(store.rejects(unit))
    return pa.concat_tables(found)
