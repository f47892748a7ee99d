"""A short vector per vector whose products never underestimate the cosine: what it rules out is ruled out.

Let P project on a few orthonormal directions. By Cauchy and Schwarz, for unit vectors x and y

    x.y = Px.Py + (x-Px).(y-Py) <= Px.Py + |x-Px| |y-Py|,

which is one dot product of the sketches (Px, |x-Px|) and (Py, |y-Py|). Matrix products over sketches of 64 numbers
cost a sixth of those over 384, and only pairs that pass are looked at in full. The directions are those in which a
sample of the vectors is longest (eigenvectors of its second moments), which makes the last term small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datagen.neighbours.arrays import SLACK, Ints, Vectors

WIDTHS = (32, 48, 64, 96, 128, 192, 256)  #: directions that ``best`` chooses among
#: Costs of the parts of a search, in nanoseconds on one core of an AMD EPYC with AVX-512 (see ``costs.py``): only
#: their ratios matter here.
_PRODUCT_NS = 0.0165  # one multiplication and addition in a matrix product
_LOOK_NS = 0.3  # comparing one number of the product with the threshold
_PASS_NS = 2500.0  # looking at one pair in full
_ROUNDING = 2e-6  # of a squared length; keeps the bound a bound in float32


@dataclass(frozen=True)
class Sketch:
    """``basis``: float32 ``(dimensions, directions)`` with orthonormal columns, the most telling first."""

    basis: Vectors

    @property
    def width(self) -> int:
        return int(self.basis.shape[1])

    def project(self, vectors: Vectors) -> Vectors:
        """``(rows, directions)``."""
        return np.asarray(vectors @ self.basis)

    def of(self, vectors: Vectors) -> Vectors:
        """``(rows, directions + 1)``: the projection and the length of what it leaves out."""
        made = np.empty((len(vectors), self.width + 1), np.float32)
        projected = made[:, :-1]
        np.matmul(vectors, self.basis, out=projected)
        left = np.einsum("ij,ij->i", vectors, vectors) - np.einsum("ij,ij->i", projected, projected)
        made[:, -1] = np.sqrt(np.maximum(left, 0.0) + _ROUNDING)
        return made

    def narrowed(self, width: int) -> Sketch:
        return Sketch(np.ascontiguousarray(self.basis[:, :width]))


def fit(sample: Vectors, width: int) -> Sketch:
    """The ``width`` directions in which ``sample`` is longest; an eigenvector's sign is fixed by its largest entry."""
    wide = sample.astype(np.float64)
    _, vectors = np.linalg.eigh(wide.T @ wide)
    basis = vectors[:, ::-1][:, : min(width, sample.shape[1])]
    largest = np.abs(basis).argmax(axis=0)
    basis = basis * np.sign(basis[largest, np.arange(basis.shape[1])])
    return Sketch(np.ascontiguousarray(basis, np.float32))


def best(sample: Vectors, groups: Ints, threshold: float) -> Sketch | None:
    """The sketch with which a search costs least, or None where comparing whole vectors costs less.

    Args:
        sample: ``(rows, dimensions)``, in an order that does not matter.
        groups: a number per row; only rows of one group will be compared (all zero: all with all).
        threshold: least cosine sought.
    """
    full = sample.shape[1]
    # Directions fitted to one half are judged on the other: on its own half a narrow sketch looks better than it is.
    widest, judged = fit(sample[1::2], max(WIDTHS)), np.arange(0, len(sample), 2)
    compared, passed = 0, dict.fromkeys(WIDTHS, 0)
    sorted_rows = judged[np.argsort(groups[judged], kind="stable")]
    for rows in np.split(sorted_rows, np.flatnonzero(np.diff(groups[sorted_rows])) + 1):
        rows = rows[:1024]
        if len(rows) < 2:
            continue
        compared += len(rows) * (len(rows) - 1) // 2
        for width in WIDTHS:
            if width < full:
                short = widest.narrowed(width).of(sample[rows])
                passed[width] += int(np.count_nonzero(np.triu(short @ short.T >= threshold - SLACK, 1)))
        if compared > 4_000_000:
            break
    if not compared:
        return None

    def cost(width: int) -> float:
        return _PRODUCT_NS * (width + 1) + _LOOK_NS + _PASS_NS * passed[width] / compared

    narrow = min((width for width in WIDTHS if width < full), key=cost, default=None)
    if narrow is None or cost(narrow) >= _PRODUCT_NS * full + _LOOK_NS:
        return None
    return fit(sample, narrow)
