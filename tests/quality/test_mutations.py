"""Proof that verify bites: all sound samples pass, and of every kind of spoilt ones at least 99 in 100 do not."""

from __future__ import annotations

import random
from collections import Counter

import pyarrow as pa
import pytest

from datagen.quality import checks, facts
from datagen.stages.write import Write
from datagen.testing.records import clip_table

from ..llm.writing import written as by_fake_author
from .mutations import MUTATIONS

CLIPS = 80  # half of them with everything known, half with gaps
NEEDED = 0.99
MOST = 200  # spoilt samples per kind
FEWEST = 25  # spoilt samples per kind, or the kind proves nothing


@pytest.fixture(scope="module")
def written():
    """(record, row) of every sample of a generated corpus."""
    stage = Write()
    stage.setup()
    pairs = []
    for null_rate in (0.0, 0.35):
        clips = clip_table(CLIPS // 2, seed=7, null_rate=null_rate)
        records = {row["clip_id"]: facts.from_row(row) for row in clips.to_pylist()}
        rows = stage.process(clips).created["samples"].to_pylist()
        pairs += [(records[row["clip_id"]], row) for row in rows]
    return pairs + by_a_model()


def by_a_model():
    """The same of what a language model writes, with a pair of replies and several candidates where it can be had."""
    clips = clip_table(24, seed=9, null_rate=0.15)
    scenario = ["A colleague says this to you at work, and you have a moment." for _ in range(clips.num_rows)]
    clips = clips.set_column(clips.column_names.index("scenario"), "scenario", pa.array(scenario))
    records = {row["clip_id"]: facts.from_row(row) for row in clips.to_pylist()}
    out, _ = by_fake_author(clips, candidates=3)
    return [(records[row["clip_id"]], row) for row in out.created["samples"].to_pylist()]


def test_nothing_sound_is_refused(written):
    assert len(written) > 1_000
    for record, row in written:
        assert checks.check(row, record) == [], row


def spoil(written, kind):
    """Up to ``MOST`` spoilt samples, at most three of one sample, so that no kind of sample crowds out the others."""
    dice = random.Random(kind)
    found = []
    for record, row in dice.sample(written, len(written)):
        spoilt = list(MUTATIONS[kind](row, record, dice))
        found += [(record, each) for each in dice.sample(spoilt, min(3, len(spoilt)))]
        if len(found) >= MOST:
            break
    return found


@pytest.mark.parametrize("kind", sorted(MUTATIONS))
def test_spoilt_samples_are_refused(written, kind):
    tried = spoil(written, kind)
    assert len(tried) >= FEWEST, f"{kind} applies to {len(tried)} samples only"
    passed, found = [], Counter()
    for record, spoilt in tried:
        findings = checks.check(spoilt, record)
        found.update({finding.error_class for finding in findings})
        if not findings:
            passed.append({name: spoilt[name] for name in ("mode", *checks.ITEM_FIELDS) if spoilt[name] is not None})
    assert found.keys().isdisjoint({"WrongIdentity", "WrongColumns"}), "the bookkeeping gave it away"
    assert len(passed) <= (1 - NEEDED) * len(tried), f"{len(passed)} of {len(tried)} pass, e.g. {passed[:3]}"
