"""Transcripts are data: whatever they hold, they are quoted and nothing more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import meta

from datagen import resources
from datagen.llm import instructions, prompts
from datagen.quality import checks, facts
from datagen.quality.claims import split_quotes
from datagen.quality.untrusted import neutralise
from datagen.stages.write import DEFAULT_COUNTS
from datagen.tables import MODES
from datagen.testing.records import clip_rows
from datagen.writing import template
from datagen.writing.shown import facts_of, slot_of
from datagen.writing.slots import plan_clip

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


FOLDERS = sorted(path.name for path in (resources.folder("prompts") / "llm").iterdir() if path.is_dir())
#: Variables of the prompts that are not one text, with it somewhere in them; all others are.
SHAPES = {
    "facts": lambda text: {"transcript": text, "emotion": "sad"},
    "slot": lambda text: {"task": "response", "situation": text, "question": text},
    "voice": lambda text: {"emotion": "sad", "events": [text]},
    "options": lambda text: ["sad", text],
    "voices": lambda text: ["sad", text],
    "replies": lambda text: [{"text": text, "style": text}, {"text": "Yes.", "style": "calm"}],
    "evidence": lambda text: [{"field": "transcript", "value": None, "quote": text}],
    "styles": lambda text: ["calm"],  # ours
    "notes": lambda text: [text],
    "reasons": lambda text: [text],
}
MARK = "HARMLESS"


def asked(stage, name, text):
    """A prompt's texts with ``text`` in all its variables."""
    prompt = instructions.load(instructions.folder(stage))[name]
    environment = prompt.template.environment
    parsed = environment.parse(environment.loader.get_source(environment, f"{name}.j2")[0])
    wanted = meta.find_undeclared_variables(parsed) | set(SHAPES)
    variables = {each: SHAPES.get(each, str)(text) for each in wanted}
    module = prompt.template.make_module(variables)
    further = [str(module.again())] if hasattr(module, "again") else []
    return [prompt.instruction, prompt.question(**variables), *further]


@pytest.mark.parametrize("stage", FOLDERS)
def test_what_a_stranger_said_changes_nothing_but_its_own_value_in_a_prompt(stage):
    for name in instructions.load(instructions.folder(stage)):
        plain = asked(stage, name, MARK)
        assert MARK not in plain[0] and (MARK in plain[1])
        for hostile in INJECTIONS:
            shown = neutralise(hostile)
            texts = asked(stage, name, hostile)
            assert [text.replace(shown, MARK) for text in texts] == plain, (name, hostile)
            for text in texts[1:]:
                assert not [token for token in TOKENS if token != "\n" and token in text.replace(plain[0], "")]


@pytest.mark.parametrize("hostile", INJECTIONS)
def test_an_injection_is_one_value_of_the_facts(hostile):
    """Through the record, as the writer does it: all but the words is as for a harmless text of as many words."""
    row = {**clip_rows(1, seed=5, language="en")[0], "words": None}
    record = facts.from_row({**row, "transcript": hostile})
    spoken = " ".join(f"word{index}" for index in range(len(record.transcript.split())))
    other = facts.from_row({**row, "transcript": spoken})
    loaded, compared = instructions.load(instructions.folder("write")), 0
    slots, others = (plan_clip(each, DEFAULT_COUNTS, MODES, 0, 0.25) for each in (record, other))
    for slot in slots:
        if slot in others:
            shown = slot_of(slot)
            texts = [
                loaded[slot.prompt].question(facts=facts_of(each, slot), slot=shown, styles=[])
                for each in (record, other)
            ]
            assert texts[0].replace(f'"{record.transcript}"', "X") == texts[1].replace(f'"{spoken}"', "X")
            compared += 1
    assert compared >= 8


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
