"""Columns of a table as arrays, and the sex of speakers whose corpus does not say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from datagen.speech import arousal
from datagen.speech.calibration.settings import AFFECTS
from datagen.speech.prosody import Floats


class Columns:
    """The measured columns of a table as arrays; columns that are not there are null.

    Args:
        sexes: of speakers of whom the corpus does not always give it (see ``predicted_sexes``); None = predictions do
            not count.
    """

    def __init__(self, table: pa.Table, sexes: Mapping[str, str | None] | None) -> None:
        self.rows = table.num_rows
        self._table = table
        self.corpus, self.speaker, self.sex = (self.text(name) for name in ("corpus", "speaker", "sex"))
        self.rate_source = self.text("rate_source")
        self.sex_heard: list[str | None] = [None] * self.rows
        if sexes is not None:
            heard = zip(self.sex, self.speaker, self.text("sex_predicted"), strict=True)
            self.sex_heard = [None if given else sexes.get(speaker or "", guess) for given, speaker, guess in heard]
            self.sex = [given or guess for given, guess in zip(self.sex, self.sex_heard, strict=True)]
        # Models go a little beyond 0..1; ranks are taken before that is cut off, so that they keep the order.
        raw = {name: self.number(f"{name}_raw") for name in AFFECTS}
        self.cues = arousal.as_array(self._list("arousal_cues"))
        f0 = self.number("f0_median_hz")
        with np.errstate(invalid="ignore", divide="ignore"):
            semitones = 12 * np.log2(np.where(f0 > 0, f0, np.nan))
        self.values: dict[str, Floats] = {
            **raw,
            "f0": semitones,
            "f0_range": self.number("f0_range_st"),
            "level": self.number("level_dbfs"),
            "rate": self.number("rate_syl_s"),
            "pause": self.number("pause_ratio"),
        }
        emotion, source = self.text("emotion"), self.text("label_source")
        self.neutral = np.array([e == "neutral" and s == "gold" for e, s in zip(emotion, source, strict=True)], bool)

    def _list(self, name: str) -> list[Any]:
        return self._table[name].to_pylist() if name in self._table.column_names else [None] * self.rows

    def text(self, name: str) -> list[str | None]:
        return self._list(name)

    def number(self, name: str) -> Floats:
        values = np.array(self._list(name), dtype=np.float64)
        return np.where(np.isfinite(values), values, np.nan)


def predicted_sexes(table: pa.Table) -> dict[str, str | None]:
    """Speakers with clips of which the corpus gives no sex -> what more of these sound like; None = as many one as the
    other, or not what the corpus says of their other clips."""
    columns = Columns(table, None)
    votes: dict[str, int] = {}
    said: dict[str, set[str]] = {}
    for speaker, given, guess in zip(columns.speaker, columns.sex, columns.text("sex_predicted"), strict=True):
        if speaker and given:
            said.setdefault(speaker, set()).add(given)
        elif speaker and guess:
            votes[speaker] = votes.get(speaker, 0) + (1 if guess == "female" else -1)
    heard = {name: "female" if vote > 0 else "male" if vote else None for name, vote in sorted(votes.items())}
    return {name: None if said.get(name, {sex}) != {sex} else sex for name, sex in heard.items()}
