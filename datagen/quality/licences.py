"""What may be done with a row: permissions of its corpus and of every model whose columns it holds or rests on.

The table of licences is data (``schemas/licences.yaml``); a licence that is not in it permits nothing. Permissions
only ever narrow: a row may do what *all* its sources allow, and must be shared alike if *any* of them asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from numpy.typing import NDArray

from datagen.errors import UsageError
from datagen.resources import folder

#: What a licence can allow, in the order of the published columns; ``share_alike`` is the one duty beside them.
PERMISSIONS = ("redistribute_audio", "redistribute_labels", "derivatives", "commercial")
#: The published columns.
COLUMNS = (*(f"{name}_ok" for name in PERMISSIONS), "share_alike")

#: Names of rows. They say nothing about a clip, whoever wrote them next to what he did say.
NAMES = frozenset({"recording_id", "clip_id", "sample_id", "sample_hash"})

#: Columns that say why others are null. What is in them is ours, and they hold something where nobody made anything.
REASON = "_reason"

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Permissions:
    """Four permissions and one duty. ``a & b`` is what remains when both apply."""

    redistribute_audio: bool
    redistribute_labels: bool
    derivatives: bool
    commercial: bool
    share_alike: bool = False

    def __and__(self, other: Permissions) -> Permissions:
        both = {name: getattr(self, name) and getattr(other, name) for name in PERMISSIONS}
        return Permissions(**both, share_alike=self.share_alike or other.share_alike)


NOTHING = Permissions(False, False, False, False)
EVERYTHING = Permissions(True, True, True, True)


@dataclass(frozen=True, slots=True)
class Licence:
    """One row of the table. ``hub`` is its identifier on dataset cards, ``inherits`` = as the clip's corpus."""

    id: str
    permissions: Permissions
    hub: str | None = None
    inherits: bool = False
    note: str = ""


class Licences:
    """The table, looked up by any of the usual spellings of a licence's name.

    Args:
        entries: id -> fields, as under ``licences`` in ``schemas/licences.yaml``.
        aliases: the user's own spellings -> an id or alias of the table, e.g.
            ``{"CC BY 4.0 (V. Panayotov et al.)": "CC-BY-4.0"}``.

    Raises:
        UsageError: an alias points at a licence that is not in the table, or one spelling means two licences.
    """

    def __init__(self, entries: Mapping[str, Mapping[str, Any]], aliases: Mapping[str, str] | None = None) -> None:
        self._by_key: dict[str, Licence] = {}
        for name, entry in entries.items():
            licence = Licence(
                id=name,
                permissions=Permissions(**{key: bool(entry[key]) for key in (*PERMISSIONS, "share_alike")}),
                hub=entry.get("hub"),
                inherits=bool(entry.get("inherits", False)),
                note=str(entry.get("note", "")),
            )
            for spelling in (name, *entry.get("aliases", ())):
                other = self._by_key.setdefault(_key(spelling), licence)
                if other.id != name:
                    raise UsageError(f"licences: '{spelling}' stands for {other.id} and for {name}")
        for spelling, target in (aliases or {}).items():
            found = self._by_key.get(_key(target))
            if found is None:
                known = ", ".join(entries)
                raise UsageError(f"licences: '{spelling}' -> '{target}': no such licence; known are {known}")
            self._by_key[_key(spelling)] = found

    def find(self, spelling: str | None) -> Licence | None:
        """The licence of that name; None when it is unknown (and so permits nothing)."""
        return self._by_key.get(_key(spelling)) if spelling else None

    def permissions(self, spelling: str | None) -> Permissions:
        found = self.find(spelling)
        return found.permissions if found else NOTHING

    def __iter__(self) -> Iterator[Licence]:
        return iter({licence.id: licence for licence in self._by_key.values()}.values())


def _key(spelling: str) -> str:
    """Spellings that differ only in case, blanks, dashes or the word "licence" are one.

    Nothing else is forgiven, remarks in brackets least of all: they may well say "not for commercial use".
    """
    text = spelling.strip().lower().rstrip("/.").replace("http://", "https://")
    text = re.sub(r"\blicen[cs]e\b|\bversion\b|\binternational\b", " ", text)
    return re.sub(r"[\s_-]+", "-", text).strip("-")


@cache
def _published(path: Path) -> dict[str, Any]:
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    return dict(table["licences"])


def published(aliases: Mapping[str, str] | None = None) -> Licences:
    """The table shipped in ``schemas/licences.yaml``, with the user's own spellings added."""
    return Licences(_published(folder("schemas") / "licences.yaml"), aliases)


# --- Rows ---------------------------------------------------------------------------------------------------


def origins(column: str, lineage: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """``column`` and every column it was derived from, directly or not."""
    found: set[str] = set()
    todo = [column]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += lineage.get(name, ())
    return frozenset(found)


def touched(table: pa.Table, written: Iterable[str], lineage: Mapping[str, Sequence[str]]) -> Mask:
    """Rows that hold something made from the columns ``written`` by one maker.

    A row does so when one of its non-null columns is, or derives from, a written one; or when its list
    ``used_columns`` (samples: what the text rests on) names such a column. A maker that does not say what it
    wrote touches every row: permissions are never widened by silence.
    """
    wanted = frozenset(written)
    mask: Mask = np.zeros(table.num_rows, dtype=bool)
    if not wanted:
        mask[:] = True
        return mask
    wanted = frozenset(name for name in wanted - NAMES if not name.endswith(REASON))
    for name in table.column_names:
        if name != "used_columns" and origins(name, lineage) & wanted:
            mask |= pc.is_valid(table.column(name)).to_numpy()
    if "used_columns" in table.column_names and table.num_rows:
        used = table.column("used_columns").combine_chunks()
        used = pa.concat_arrays(used.chunks) if isinstance(used, pa.ChunkedArray) else used
        names = pc.list_flatten(used)
        hits = [name for name in pc.unique(names).to_pylist() if name and origins(name, lineage) & wanted]
        rows = pc.list_parent_indices(used).to_numpy()
        mask[rows[pc.is_in(names, value_set=pa.array(hits, pa.string())).to_numpy(zero_copy_only=False)]] = True
    return mask


def _holds(table: pa.Table, column: str, value: str) -> Mask:
    """Rows in which ``column`` is ``value``; all rows of a table without it: silence widens no permission."""
    if column not in table.column_names:
        return np.ones(table.num_rows, dtype=bool)
    same = pc.fill_null(pc.equal(table.column(column), value), False)
    return np.asarray(same.to_numpy(), dtype=bool)


def of_rows(
    table: pa.Table,
    provenance: Sequence[Mapping[str, Any]],
    lineage: Mapping[str, Sequence[str]],
    licences: Licences,
) -> pa.Table:
    """Permission columns (``COLUMNS``, bool, never null) for each row of ``table``.

    Args:
        table: published columns; needs ``licence`` (of the corpus; null = unknown = nothing permitted).
        provenance: makers, each with ``licence`` and the ``columns`` it wrote (law 6), and ``where`` (column, value)
            when it made only the rows in which that holds.
        lineage: derived column -> columns it was made from.

    The audio's own permission depends on the corpus and on makers of the column ``audio`` alone: a model that
    labelled a clip has no say over its sound.
    """
    encoded = pc.dictionary_encode(table.column("licence").combine_chunks(), null_encoding="encode")
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    per_code = [licences.permissions(spelling) for spelling in encoded.dictionary.to_pylist()]
    columns: dict[str, Mask] = {
        name: np.array([getattr(found, name) for found in per_code], dtype=bool)[codes]
        for name in (*PERMISSIONS, "share_alike")
    }
    for maker in provenance:
        licence = licences.find(maker.get("licence"))
        if licence is not None and licence.inherits:
            continue
        allowed = licence.permissions if licence else NOTHING
        if allowed == EVERYTHING:
            continue
        wrote = tuple(maker.get("columns") or ())
        mask = touched(table, wrote, lineage)
        if maker.get("where"):
            mask &= _holds(table, *maker["where"])
        for name in PERMISSIONS:
            if not getattr(allowed, name) and (name != "redistribute_audio" or "audio" in wrote):
                columns[name] &= ~mask
        if allowed.share_alike:
            columns["share_alike"] |= mask
    names = {name: f"{name}_ok" for name in PERMISSIONS} | {"share_alike": "share_alike"}
    return pa.table({names[name]: pa.array(mask) for name, mask in columns.items()})
