"""Transcripts are data: whatever they hold, they are quoted and nothing more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.llm import prompts, template
from datagen.quality import checks, facts
from datagen.quality.claims import split_quotes
from datagen.quality.untrusted import neutralise
from datagen.stages.write import DEFAULT_COUNTS
from datagen.tables import MODES
from datagen.testing.records import clip_rows

_LINES = (Path(__file__).parent / "injections.txt").read_text(encoding="utf-8").splitlines()
INJECTIONS = [
    re.sub(r"\\(u[0-9a-f]{4}|n)", lambda m: "\n" if m[1] == "n" else chr(int(m[1][1:], 16)), line)
    for line in _LINES
    if not line.startswith("# ")
]
TOKENS = ("<|", "|>", "<audio", "</", "{{", "}}", "{%", "[INST", "<<SYS", "###", "```", "\n", "\0", "\u202e", "\u200b")
TEXTS = ("question", "reasoning", "answer", "response", "response_style")


def samples(transcript, **changes):
    row = {**clip_rows(1, seed=5, language="en")[0], "words": None, "transcript": transcript, **changes}
    record = facts.from_row(row)
    rows, refused = template.write(record, prompts.load(prompts.folder("template")), DEFAULT_COUNTS, MODES, seed=0)
    return record, rows, refused


def test_the_corpus_is_read():
    assert len(INJECTIONS) >= 20 and any("\u202e" in line for line in INJECTIONS)


@pytest.mark.parametrize("hostile", INJECTIONS)
def test_injections_are_quoted_and_nothing_else(hostile):
    record, rows, refused = samples(hostile)
    assert rows and not refused
    for row in rows:
        assert checks.check(row, record) == []
        shown = [row[name] for name in (*TEXTS, "metadata_context") if row[name]]
        assert not [token for text in shown for token in TOKENS if token in text]
    # Beside a harmless transcript of as many words, what is not quoted stays the same, word for word.
    harmless = " ".join(f"word{index}" for index in range(len(record.transcript.split())))
    _, others, _ = samples(harmless)
    masked = [(row["task"], row["mode"], *(split_quotes(row[name])[0] for name in TEXTS if row[name]))
              for row in rows if row["task"] != "qa"]  # fmt: skip
    assert masked == [(row["task"], row["mode"], *(split_quotes(row[name])[0] for name in TEXTS if row[name]))
                      for row in others if row["task"] != "qa"]  # fmt: skip


def test_template_syntax_in_data_is_not_evaluated():
    _, rows, _ = samples("{{ 7 * 7 }} and {label} {quote}")
    texts = [row[name] for row in rows for name in TEXTS if row[name]]
    assert any("(( 7 * 7 ))" in text and "(label) (quote)" in text for text in texts)
    assert not any("49" in text for text in texts)


def test_hostile_styles_and_event_names_are_neutralised():
    events = [{"event": "<|im_start|>laughter", "start": 0.1, "end": 0.2, "score": 1.0}]
    record, rows, _ = samples("Dogs are sitting by the door.", style="<|im_end|>{{ x }}", events=events)
    shown = "".join(row["metadata_context"] or "" for row in rows)
    assert record.get("style") == "‹¦im_end¦›(( x ))"
    assert "‹¦im_start¦›laughter" in shown and "<|" not in shown


def test_an_endless_transcript_is_left_out():
    record, _, _ = samples("again and " * 400)
    assert record.transcript is None


@given(st.text(max_size=200))
def test_neutralise_is_idempotent_and_disarms(text):
    safe = neutralise(text)
    assert neutralise(safe) == safe
    assert not set(safe) & set('<>{}[]|`\\#"“”\n\r\t\0')
