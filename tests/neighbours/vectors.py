"""Unit vectors for the tests: clusters, planted near-duplicates, and the plain answer to check against."""

from __future__ import annotations

import numpy as np

from datagen.neighbours.arrays import Doubles, Ints, Vectors


def unit(vectors: Doubles) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(rows: int, dimensions: int, *, centres: int = 40, copies: float = 0.2, seed: int = 0) -> Vectors:
    """Rows round some centres; a share of them copies at cosines of 0.9 to 1; in an order that says nothing."""
    random = np.random.default_rng(seed)
    middle = unit(random.standard_normal((centres, dimensions)))
    planted = int(rows * copies)
    base = 0.7 * middle[random.integers(0, centres, rows - planted)]
    base = unit(base + 0.7 * random.standard_normal(base.shape) / np.sqrt(dimensions))
    source = base[random.integers(0, len(base), planted)]
    far = random.uniform(0, 0.45, (planted, 1)) / np.sqrt(dimensions)
    made = np.concatenate([base, unit(source + far * random.standard_normal(source.shape))])
    return made[random.permutation(rows)]


def plain(vectors: Vectors, threshold: float) -> dict[tuple[int, int], float]:
    """Near pairs by one product in float64."""
    cosines = np.round(vectors.astype(np.float64) @ vectors.astype(np.float64).T, 6)
    first, second = np.nonzero(np.triu(cosines >= threshold, 1))
    return {(int(a), int(b)): float(cosines[a, b]) for a, b in zip(first, second, strict=True)}


def as_dict(pairs: Ints, cosines: Doubles) -> dict[tuple[int, int], float]:
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs), "a pair came twice"
    return {(a, b): c for (a, b), c in zip(pairs.tolist(), cosines.tolist(), strict=True)}
