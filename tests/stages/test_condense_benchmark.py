"""What the benchmark of condensation counts as wrong is wrong, and nothing else."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from datagen.stages.condense import Condense


@pytest.fixture
def benchmark() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        yield importlib.import_module("condense")


def test_every_wrong_fate_is_counted(benchmark: Any) -> None:
    batch = benchmark.generated(3000)
    written = Condense().process(batch).columns
    assert benchmark.wrong(batch, written) == []
    reasons, place = written["drop_reason"].to_pylist(), written.schema.get_field_index("drop_reason")

    def counted(row: int, fate: str | None) -> list[str]:
        changed = pa.array([*reasons[:row], fate, *reasons[row + 1 :]], pa.string())
        return list(benchmark.wrong(batch, written.set_column(place, "drop_reason", changed)))

    for column, level in (("audio_hash", "duplicate:content"), ("sound_group", "duplicate:acoustic")):
        assert f"1 groups by {column} keep more than one clip, 0 none" in counted(reasons.index(level), None)
        group = batch[column].to_pylist()
        kept = next(row for row, fate in enumerate(reasons) if fate is None and group[row])
        assert f"0 groups by {column} keep more than one clip, 1 none" in counted(kept, level)
    texts = list(zip(batch["text_cluster"].to_pylist(), batch["emotion"].to_pylist(), strict=True))
    alone = next(row for row, said in enumerate(texts) if texts.count(said) == 1 and said[1] and reasons[row] is None)
    assert counted(alone, "duplicate:semantic") == ["dedup took 1 ways of saying a text"]
