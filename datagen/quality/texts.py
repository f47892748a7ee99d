"""When two clips say the same words: exact keys for any language, near-same texts where embeddings exist."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datagen.quality.components import components

#: Language of a text nobody told us the language of (ISO 639-2).
UNDETERMINED = "und"
#: Words that turn a sentence round though they move its embedding little. English, as the embeddings are.
_TURNING = """
    no not never none nothing nobody neither nor without cannot cant wont dont doesnt didnt isnt arent wasnt werent
    hasnt havent hadnt couldnt wouldnt shouldnt one two three four five six seven eight nine ten eleven twelve
    thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty
    ninety hundred thousand million monday tuesday wednesday thursday friday saturday sunday he she his her him
"""
_APOSTROPHES = re.compile("['’ʼ`´]")


def language(*tags: str | None) -> str:
    """The first known of some language tags, as its primary subtag: ``en-NZ`` is ``en``; else ``und``."""
    for tag in tags:
        if tag and tag.strip():
            return re.split(r"[-_/]", tag.strip().casefold())[0]
    return UNDETERMINED


def normalised(text: str) -> str:
    """NFKC, no case, no punctuation or symbols, single blanks; apostrophes vanish without a gap."""
    plain = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text).casefold())
    kept = (char if unicodedata.category(char)[0] in "LNM" else " " for char in plain)
    # Casefolding can leave NFKC (e.g. long s with a dot), so a second pass closes the form.
    return " ".join(unicodedata.normalize("NFKC", "".join(kept)).split())


def text_key(text: str | None, *languages: str | None) -> str | None:
    """``<language>|<normalised text>``: equal keys are the same words. None when no word is left."""
    words = normalised(text) if text else ""
    return f"{language(*languages)}|{words}" if words else None


def text_id(key: str | None) -> str | None:
    """Short stable name of a text key: 64 bits of its hash, in hex."""
    return None if key is None else blake2b(key.encode(), digest_size=8).hexdigest()


@lru_cache(maxsize=1)
def _turning_words() -> frozenset[str]:
    return frozenset(_TURNING.split())


def _turning(key: str) -> tuple[str, ...]:
    """What must agree before two texts may count as near-same: numbers, negations, days, persons."""
    words, turning = key.split("|", 1)[1].split(), _turning_words()
    return tuple(sorted(word for word in words if word in turning or any(char.isdigit() for char in word)))


def near_texts(keys: Sequence[str], vectors: npt.NDArray[np.float32], threshold: float) -> npt.NDArray[np.int64]:
    """Pairs of distinct texts that say nearly the same: ``(pairs, 2)``, lower index first, sorted.

    Args:
        keys: distinct text keys.
        vectors: ``(texts, dimensions)``; need not be normalised. Exact search, ``faiss.IndexFlatIP``.
        threshold: least cosine.
    """
    if len(keys) < 2:
        return np.zeros((0, 2), np.int64)
    import faiss

    vectors = np.ascontiguousarray(vectors, np.float32)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    # The search sums in an order of its own; candidates from a little below are decided in double precision.
    limits, _, found = index.range_search(unit, threshold - 1e-4)
    left = np.repeat(np.arange(len(keys)), np.diff(limits.astype(np.int64)))
    pairs = np.stack([left, found.astype(np.int64)], axis=1)
    pairs = np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)
    wide = unit.astype(np.float64)
    cosine = np.round(np.einsum("ij,ij->i", wide[pairs[:, 0]], wide[pairs[:, 1]]), 6)
    turning = [_turning(key) for key in keys]
    same = np.array([turning[a] == turning[b] for a, b in pairs.tolist()], bool)
    return np.asarray(pairs[(cosine >= threshold) & same])


def text_clusters(
    keys: pa.Array | pa.ChunkedArray, embeddings: pa.Array | pa.ChunkedArray, threshold: float
) -> tuple[list[str | None], set[tuple[str, str]]]:
    """Group texts that say the same or nearly the same.

    Args:
        keys: ``text_key`` per row; null rows belong to no cluster.
        embeddings: list<float> per row; rows without one meet others by equal key only.
        threshold: least cosine of near-same texts of one language.

    Returns:
        Per row the cluster's name, which is its smallest key (so it does not depend on the order of rows), and the
        pairs of different keys that are near each other, each pair sorted.
    """
    row_keys: list[str | None] = keys.to_pylist()
    place = {key: row for row, key in reversed(list(enumerate(row_keys))) if key is not None}
    distinct = sorted(place)
    number = {key: index for index, key in enumerate(distinct)}
    first = pa.array([place[key] for key in distinct], pa.int64())
    vectors = embeddings.take(first)
    if isinstance(vectors, pa.ChunkedArray):
        vectors = vectors.combine_chunks()
    has = np.flatnonzero(vectors.is_valid().to_numpy(zero_copy_only=False))
    edges: list[npt.NDArray[np.int64]] = []
    by_language: dict[str, list[int]] = {}
    for index in has.tolist():
        by_language.setdefault(distinct[index].split("|", 1)[0], []).append(index)
    for members in by_language.values():
        flat = vectors.take(pa.array(members)).flatten().to_numpy(zero_copy_only=False)
        pairs = near_texts([distinct[m] for m in members], flat.reshape(len(members), -1), threshold)
        edges.append(np.array(members, np.int64)[pairs])
    together = np.concatenate(edges) if edges else np.zeros((0, 2), np.int64)
    # Sorted keys: the lowest index of a component is its smallest key.
    label = components(len(distinct), together)
    names = [None if key is None else distinct[label[number[key]]] for key in row_keys]
    return names, {(distinct[a], distinct[b]) for a, b in together.tolist()}
