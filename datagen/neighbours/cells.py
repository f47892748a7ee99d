"""Cells of like vectors: where a vector is at home, and in which further cells it must be looked up.

Centroids are those of spherical k-means (Dhillon and Modha 2001), found by faiss on a sample, over the projection
onto a few directions (``sketch.py``). Two vectors x and y with a cosine of at least t lie within sqrt(2 - 2t) of each
other, so their similarities to any two centroids differ alike: if x is at home in c, y is nearly so. Hence y visits
every cell whose similarity is within a ``margin`` of its best. A pair is found when either row visits the other's
home; ``recall.tune`` finds the margin that a recall asked for takes. Vectors in the middle of a cell visit none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from datagen.neighbours.arrays import DECIMALS, SLACK, Cells32, Doubles, Ints, Vectors, blocks
from datagen.neighbours.sketch import Sketch
from datagen.neighbours.sketch import fit as fit_sketch

#: Directions that decide about cells. With fewer a row visits more cells: 2.5 instead of 2.3 with 32 instead of 64,
#: 2.1 with all 384 (recall 0.99 on unstructured noise, the hardest case), and each visit is dearer with more.
WIDTH = 64
MAX_VISITS = 48  #: a row near no centroid at all would otherwise visit every cell
SAMPLE_PER_CELL = 40
ROUNDS = 8  #: of k-means; more of them change the recall in the third decimal
_BLOCK = 2048


class Visits(NamedTuple):
    """Cells that rows visit besides their home: those of row i are ``cells[offsets[i]:offsets[i + 1]]``."""

    offsets: Ints
    cells: Cells32


@dataclass(frozen=True)
class Cells:
    """``centroids``: float32 ``(cells, directions)`` of unit length; ``margin``: how far from the best still visits."""

    sketch: Sketch
    centroids: Vectors
    margin: float = 0.0

    def __len__(self) -> int:
        return len(self.centroids)

    def with_margin(self, margin: float) -> Cells:
        return replace(self, margin=float(margin))

    def assign(self, vectors: Vectors) -> tuple[Cells32, Visits]:
        """Home cell (int32) and visited cells per row of float32 unit vectors ``(rows, dimensions)``.

        A row's answer depends on that row alone: where rounding in float32 could decide, float64 does, and of equals
        the cell of the lower number is the home.
        """
        homes, counts, visited = [], [], []
        for first, end in blocks(len(vectors), _BLOCK):
            home, count, cells = self._assign(vectors[first:end])
            homes.append(home)
            counts.append(count)
            visited.append(cells)
        offsets = np.zeros(len(vectors) + 1, np.int64)
        if not homes:
            return np.zeros(0, np.int32), Visits(offsets, np.zeros(0, np.int32))
        np.cumsum(np.concatenate(counts), out=offsets[1:])
        return np.concatenate(homes), Visits(offsets, np.concatenate(visited))

    def _assign(self, vectors: Vectors) -> tuple[Cells32, Ints, Cells32]:
        near = self.sketch.project(vectors) @ self.centroids.T
        best = near.max(axis=1)
        # A pair (row, cell) for all that may count; few rows have more than a handful.
        flat = np.flatnonzero(near >= (best - np.float32(self.margin + SLACK))[:, None])
        row, cell = np.divmod(flat, len(self.centroids))
        value = near.ravel()[flat].astype(np.float64)
        unsure = self._unsure(row, value, best.astype(np.float64))
        if len(unsure):
            wide = self._exact(vectors[unsure])
            place = np.full(len(vectors), -1, np.int64)
            place[unsure] = np.arange(len(unsure))
            again = place[row] >= 0
            value[again] = wide[place[row[again]], cell[again]]
        # Best first; of equals the lower cell. Then the first of each row is its home.
        order = np.lexsort((cell, -value, row))
        row, cell, value = row[order], cell[order], value[order]
        start = np.searchsorted(row, np.arange(len(vectors)))
        rank = np.arange(len(row)) - start[row]
        visits = (rank > 0) & (rank <= MAX_VISITS) & (value >= value[start[row]] - self.margin)
        counts = np.bincount(row[visits], minlength=len(vectors))
        return cell[start].astype(np.int32), counts, cell[visits].astype(np.int32)

    def _unsure(self, row: Ints, value: Doubles, best: Doubles) -> Ints:
        """Rows with a similarity so close to the best, or to the end of the margin, that float32 cannot tell."""
        below = best[row] - value
        ties = np.bincount(row[below <= 2 * SLACK], minlength=len(best)) > 1
        ties[row[np.abs(below - self.margin) <= 2 * SLACK]] |= self.margin > 2 * SLACK
        return np.flatnonzero(ties)

    def _exact(self, vectors: Vectors) -> Doubles:
        """Similarities to all centroids, in float64, rounded."""
        projected = vectors.astype(np.float64) @ self.sketch.basis.astype(np.float64)
        return np.asarray(np.round(projected @ self.centroids.T.astype(np.float64), DECIMALS))

    def gaps(self, vectors: Vectors, cells: npt.NDArray[np.integer]) -> Doubles:
        """The margin with which each row would visit the cell beside it: 0 at home, inf beyond ``MAX_VISITS``."""
        found = np.empty(len(vectors), np.float64)
        for first, end in blocks(len(vectors), _BLOCK):
            near = self._exact(vectors[first:end])
            asked = near[np.arange(len(near)), cells[first:end]]
            better = np.count_nonzero(near > asked[:, None], axis=1)
            found[first:end] = np.where(better <= MAX_VISITS, near.max(axis=1) - asked, np.inf)
        return found

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All there is to know, for ``np.savez``."""
        return {"basis": self.sketch.basis, "centroids": self.centroids, "margin": np.array([self.margin])}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Cells:
        return cls(Sketch(arrays["basis"]), arrays["centroids"], float(arrays["margin"][0]))


def fit(sample: Vectors, rows: int, *, seed: int, count: int) -> Cells:
    """Cells for ``rows`` vectors like those of ``sample``; their margin is 0 until it has been tuned.

    Args:
        sample: float32 unit vectors ``(n, dimensions)``, chosen and ordered by hash of their ids (``arrays.chosen``),
            best ``SAMPLE_PER_CELL`` a cell: who is drawn must not depend on the order of rows.
        rows: how many vectors there are in all; no more cells are made than make sense for them.
        seed: of the first centroids.
        count: number of cells (``choose.cell_count``).

    Raises:
        ValueError: the sample is empty.
    """
    if not len(sample):
        raise ValueError("no vectors to fit cells to")
    sketch = fit_sketch(sample, WIDTH)
    projected = sketch.project(sample)
    lengths = np.linalg.norm(projected, axis=1, keepdims=True)
    count = max(1, min(count, len(sample) // 2, rows // 2))
    return Cells(sketch, _centroids(projected / np.maximum(lengths, 1e-9), count, seed))


def _centroids(points: Vectors, count: int, seed: int) -> Vectors:
    import faiss

    settings = faiss.ClusteringParameters()
    settings.niter = ROUNDS
    settings.seed = seed % 2**31
    settings.spherical = True
    settings.min_points_per_centroid = 1
    settings.max_points_per_centroid = len(points)  # the caller has drawn the sample
    clustering = faiss.Clustering(points.shape[1], count, settings)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # sums in an order that does not depend on the machine's cores
    try:
        clustering.train(np.ascontiguousarray(points), faiss.IndexFlatIP(points.shape[1]))
    finally:
        faiss.omp_set_num_threads(threads)
    centroids = faiss.vector_to_array(clustering.centroids).reshape(count, points.shape[1])
    return np.ascontiguousarray(centroids, np.float32)


def by_cell(home: Cells32, count: int) -> tuple[Ints, Ints]:
    """Rows in the order of their home cells, and where each cell starts: ``rows[starts[c]:starts[c + 1]]``."""
    starts = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(home, minlength=count), out=starts[1:])
    return np.argsort(home, kind="stable"), starts


def visitors_by_cell(visits: Visits, count: int) -> tuple[Ints, Ints]:
    """Rows that visit each cell, in the same form."""
    row = np.repeat(np.arange(len(visits.offsets) - 1), np.diff(visits.offsets))
    order, starts = by_cell(visits.cells, count)
    return row[order], starts
