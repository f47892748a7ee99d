"""The benchmark of deduplication runs, and what it judges it judges rightly. No time is judged here."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def vectors() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("_dedup_vectors")


def test_quick_meets_all_goals_but_those_of_time(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "dedup.py"), "--quick"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": met") == 16 and "MISSED" not in done.stdout
    assert not list(tmp_path.iterdir()), "it leaves nothing behind"


def test_vectors_are_as_they_are_said_to_be(vectors: Any, tmp_path: Path) -> None:
    made = vectors.make(tmp_path / "vectors", 4000, 1)
    matrix = np.array(made.open())
    copies = np.flatnonzero(made.group != np.arange(4000))
    assert len(copies) == 200 and np.allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-5)
    cosines = np.einsum("ij,ij->i", matrix[copies], matrix[made.group[copies]])
    assert 0.9499 < cosines.min() < 0.96 and 0.99 < cosines.max() <= 1.0001
    every = np.triu(matrix @ matrix.T, 1)
    hard = np.count_nonzero((every > 0.799) & (every < 0.901))
    assert hard >= 400 and not np.count_nonzero((every > 0.905) & (made.group[:, None] != made.group[None]))


def test_judged_is_what_was_planted(vectors: Any) -> None:
    group = np.array([0, 0, 0, 3, 3, 5, 6])
    gone = np.array([False, True, True, True, True, False, True])  # one group whole, one row that nobody copied
    judged = vectors.judge(group, gone)
    assert judged == vectors.Judged(recall=1.0, precision=3 / 5, wiped_out=1, groups=2)
    assert vectors.judge(group, np.zeros(7, bool)).recall == 0


def test_survivors_are_counted_in_groups_whose_rows_are_all_alike(vectors: Any, tmp_path: Path) -> None:
    # Two groups of three alike, one of two alike, one of three in which the copies stand apart, one row alone.
    angles = np.deg2rad([0, 3, 6, 60, 63, 66, 120, 123, 200, 185, 215, 300])
    group = np.array([0, 0, 0, 3, 3, 3, 6, 6, 8, 8, 8, 11])
    order = np.random.default_rng(0).permutation(12)
    place = np.argsort(order)
    made = vectors.Made(tmp_path / "vectors", place[group][order])
    matrix = np.memmap(made.path, np.float32, "w+", shape=(12, vectors.DIMENSIONS))
    matrix[:, 0], matrix[:, 1] = np.cos(angles[order]), np.sin(angles[order])

    def left(*rows: int) -> Any:
        return vectors.survivors(made, ~np.isin(order, rows))

    assert left(0, 3, 6, 8, 11) == vectors.Survivors(groups=3, none=0, several=0)
    assert left(1, 4, 5, 6, 8, 10) == vectors.Survivors(groups=3, none=0, several=1)
    assert left(0, 7) == vectors.Survivors(groups=3, none=1, several=0)
