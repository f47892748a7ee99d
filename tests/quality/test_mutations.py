"""Proof that verify bites: sound samples all pass, and of every kind of spoilt sample at least 99 in 100 are refused."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from datagen.llm import facts
from datagen.quality import checks
from datagen.stages.write import Write
from datagen.testing.records import clip_table

from .mutations import MUTATIONS

CLIPS = 90  # half of them with everything known, half with gaps
NEEDED = 0.99
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
    return pairs


def test_nothing_sound_is_refused(written):
    assert len(written) > 1_000
    for record, row in written:
        assert checks.check(row, record) == [], row


@pytest.mark.parametrize("kind", sorted(MUTATIONS))
def test_spoilt_samples_are_refused(written, kind):
    dice = random.Random(kind)
    candidates = [(record, spoilt) for record, row in written for spoilt in MUTATIONS[kind](row, record, dice)]
    tried = dice.sample(candidates, min(len(candidates), 250))
    assert len(tried) >= FEWEST, f"{kind} applies to {len(tried)} samples only"
    passed, found = [], Counter()
    for record, spoilt in tried:
        findings = checks.check(spoilt, record)
        found.update({finding.error_class for finding in findings})
        if not findings:
            passed.append({name: spoilt[name] for name in ("task", "mode", "question", "reasoning", "answer", "answer_label", "response", "response_style", "evidence")})
    assert "WrongIdentity" not in found and "WrongColumns" not in found, "the bookkeeping gave it away"
    assert len(passed) <= (1 - NEEDED) * len(tried), f"{len(passed)} of {len(tried)} pass, e.g. {passed[:3]}"
