"""What blind and judge ask, as files a person can review: one per prompt.

After a wanted change: ``python -m tests.llm.test_golden_readers`` rewrites them; read the difference before committing.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.llm import instructions
from datagen.quality import blindness, facts, judging
from datagen.testing.records import NULLABLE, clip_rows, without

GOLDEN = Path(__file__).parents[1] / "golden"
_ROW = next(row for row in clip_rows(50, seed=21, language="en") if row["emotion"] == "angry" and row["events"])
KNOWN = facts.from_row(_ROW)
WORDLESS = facts.from_row(without(_ROW, (0,)))
assert NULLABLE[0][0] == "transcript"

LABELLED = {
    "task": "reasoning",
    "question": "Which emotion does the speaker express, and why? Choose one: sad, angry, neutral.",
    "options": ["sad", "angry", "neutral"],
    "answer_label": "angry",
    "evidence": [
        {"field": "emotion", "value": "angry", "quote": None},
        {"field": "loudness_level", "value": "high", "quote": None},
        {"field": "level_dbfs", "value": "-18.9", "quote": None},
        {"field": "transcript", "value": None, "quote": KNOWN.transcript},
    ],
    "scenario": None,
    "metadata_context": None,
}
METADATA = facts.context(KNOWN, facts.withheld_groups("reasoning", ["emotion"]))
REPLY = {
    "task": "response",
    "question": "Answer the speaker.",
    "response": "I can hear that this made you angry. Let us sort it out right away.",
    "response_style": "calm, steady",
    "scenario": "A tenant speaks to the caretaker of the house.",
    "rejected_response": "How lovely, that is great news!",
    "rejected_style": "bright, cheerful",
    "reasoning": None,
    "answer": None,
}
REASONING = {
    "task": "reasoning",
    "question": LABELLED["question"],
    "reasoning": "The voice is loud and its pitch is high, which together speak for anger.",
    "answer": "angry",
    "response": None,
    "scenario": None,
}
CAPTION = {**REASONING, "task": "caption", "question": "Describe the voice.", "reasoning": None,
           "answer": "A loud, high voice."}  # fmt: skip


def blind_cases():
    """Prompt file and mode -> variables of each block."""
    cases = {
        "question": [LABELLED, {**LABELLED, "scenario": "A tenant speaks to the caretaker."}],
        "words-implicit": [LABELLED],
        "words-explicit": [{**LABELLED, "metadata_context": METADATA}],
        "evidence": [LABELLED],
    }
    for name, samples in cases.items():
        prompt = name.partition("-")[0]
        puzzles = [blindness.puzzle(sample, KNOWN) for sample in samples]
        yield "blind", name, prompt, [
            {**puzzle.shown[prompt], "options": blindness.orders(puzzle.options, 1, name)[0]} for puzzle in puzzles
        ]  # fmt: skip


def judge_cases():
    views: dict[str, list[dict]] = {}
    for sample, record in ((REPLY, KNOWN), (REASONING, KNOWN), (CAPTION, KNOWN), (REPLY, WORDLESS)):
        for prompt, variables in judging.views(judging.rated(sample), record, sample["scenario"]).values():
            blocks = views.setdefault(prompt, [])
            blocks.append({**variables, "swapped": len(blocks) % 2 == 1})
    views["preference"] = [judging.pair(REPLY, KNOWN), judging.pair({**REPLY, "scenario": None}, WORDLESS)]
    for prompt, blocks in views.items():
        yield "judge", prompt.replace("_", "-"), prompt, blocks


CASES = [*blind_cases(), *judge_cases()]


def render(stage: str, prompt: str, blocks: list[dict]) -> str:
    one = instructions.load(instructions.folder(stage))[prompt]
    parts = [f"=== answers: {one.schema['title']} ===", "=== instruction ===", one.instruction]
    for variables in blocks:
        parts += ["=== question ===", one.question(**variables)]
    return "\n".join(parts) + "\n"


@pytest.mark.parametrize(("stage", "name", "prompt", "blocks"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES])
def test_asking_is_as_reviewed(stage, name, prompt, blocks):
    path = GOLDEN / f"llm-{stage}-{name}.txt"
    assert render(stage, prompt, blocks) == path.read_text(encoding="utf-8"), "see this file's docstring"


def test_every_prompt_is_reviewed():
    for stage in ("blind", "judge"):
        assert {*instructions.load(instructions.folder(stage))} == {case[2] for case in CASES if case[0] == stage}


if __name__ == "__main__":
    for stage, name, prompt, blocks in CASES:
        (GOLDEN / f"llm-{stage}-{name}.txt").write_text(render(stage, prompt, blocks), encoding="utf-8")
