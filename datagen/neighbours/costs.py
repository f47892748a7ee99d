"""What a search will take, before it is begun: time, memory and disk from measured constants.

The constants are those of one core of an AMD EPYC (Zen 5, AVX-512) with numpy's own BLAS, measured with
``benchmarks/dedup.py`` on unstructured vectors of 384 dimensions; that benchmark prints beside each time what was
predicted. Another machine differs by its speed in matrix products, a busy one by what others take.
"""

from __future__ import annotations

from dataclasses import dataclass

from datagen.neighbours import cells, choose

_SECONDS_PER_GFLOP = 0.0115  #: matrix products of tiles, with the look at what passes
_SECONDS_PER_GB = 0.9  #: rows gathered, written in cell order or read back, from and to the page cache
_FIXED_S = 1.5  #: faiss and BLAS loaded, samples drawn
_FILTER = 128  #: directions of the filter inside cells: 96 to 128 where nothing is known of the vectors
_COARSE = 64  #: directions of the filter between rows that have nothing in common
_BASE_GB = 0.25  #: the process with numpy, pyarrow and faiss
_PER_ROW = 120  #: bytes a row: ids, homes, visits, places


@dataclass(frozen=True)
class Cost:
    """``seconds`` with all workers busy; ``memory_gb`` of one worker at its peak; ``disk_gb`` of scratch files."""

    seconds: float
    memory_gb: float
    disk_gb: float
    method: choose.Method


def predict(
    rows: int,
    dimensions: int,
    *,
    workers: int = 1,
    memory_gb: float = 1.0,
    recall: float = 0.99,
    exact_rows: int = choose.EXACT_ROWS,
) -> Cost:
    """Cost of finding all near pairs of ``rows`` vectors, after they have been computed.

    Args:
        workers: how many share the work, one core each.
        memory_gb: what one task may hold (``near_pairs``, ``choose.groups``).
    """
    method = choose.method(rows, recall, exact_rows)
    vectors_gb = 4e-9 * rows * dimensions
    filter_, coarse = min(_FILTER, dimensions), min(_COARSE, dimensions)
    if method == "exact":
        gflop = 1e-9 * rows**2 * (coarse + 1)  # half the pairs, two operations each
        shared = _SECONDS_PER_GFLOP * gflop + _SECONDS_PER_GB * vectors_gb * (1 + rows / 65_536)
        held = min(memory_gb, 3 * vectors_gb)
        return Cost(_FIXED_S + shared / workers, _BASE_GB + held, vectors_gb, method)
    count = choose.cell_count(rows)
    visits = choose.VISITS
    sample = count * cells.SAMPLE_PER_CELL
    fit = 2e-9 * sample * count * cells.WIDTH * cells.ROUNDS
    looked_up = 2e-9 * 2 * choose.SAMPLED_ROWS * rows * (coarse + 1)
    projected = 2e-9 * rows * dimensions * (cells.WIDTH + coarse + (1 + visits) * filter_)
    assigned = 2e-9 * rows * count * cells.WIDTH
    searched = 2e-9 * rows * (visits - 0.5) * (rows / count) * (filter_ + 1)
    moved = vectors_gb * (3 + visits)
    shared = _SECONDS_PER_GFLOP * (looked_up + projected + assigned + searched) + _SECONDS_PER_GB * moved
    alone = _FIXED_S + _SECONDS_PER_GFLOP * (fit + 1e-9 * dimensions**3)
    held = min(memory_gb, 3 * vectors_gb) + 1e-9 * rows * _PER_ROW + 4e-9 * sample * dimensions
    return Cost(alone + shared / workers, _BASE_GB + held, vectors_gb + 1e-9 * rows * visits * 8, method)
