"""What the template writer writes, as files a person can review: one per task and mode.

After a wanted change: ``python -m tests.llm.test_golden`` rewrites them; read the difference before committing it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.llm import prompts, template
from datagen.quality import facts
from datagen.stages.write import DEFAULT_COUNTS
from datagen.tables import MODES, TASKS
from datagen.testing.records import NULLABLE, clip_rows, without

GOLDEN = Path(__file__).parents[1] / "golden"
_SHOWN = ("question_type", "question", "reasoning", "answer", "answer_label", "response", "response_style")


def clips():
    """An English clip of which all is known, a German one with gaps, one without an emotion, one without words."""
    english = next(row for row in clip_rows(50, seed=21, language="en") if row["emotion"] == "angry" and row["events"])
    german = next(row for row in clip_rows(50, seed=22, language="de") if row["emotion"] == "sad")
    nameless = next(row for row in clip_rows(50, seed=23, language="en") if row["arousal_level"] == "high")
    wordless = next(row for row in clip_rows(50, seed=24, language="es") if row["emotion"] == "happy")
    gaps = {names[0]: index for index, names in enumerate(NULLABLE)}
    yield "english, everything known", {**english, "cue_relation": "neutral_text"}
    yield "german, no sex, age or pitch", without(german, (gaps["sex"], gaps["age_years"], gaps["f0_median_hz"]))
    yield "english, no emotion", without(nameless, (gaps["emotion"],))
    yield "spanish, no transcript", without(wordless, (gaps["transcript"],))


def render(task: str, mode: str) -> str:
    blocks = []
    for name, row in clips():
        record = facts.from_row(row)
        samples, _ = template.write(
            record, prompts.load(prompts.folder("template")), {task: DEFAULT_COUNTS[task]}, (mode,), 0
        )
        blocks.append(f"=== {name} ===")
        if not samples:
            blocks.append("(nothing to ask)\n")
        for sample in samples:
            lines = [f"{key}: {sample[key]}" for key in _SHOWN if sample[key] is not None]
            lines += [f"evidence: {item['field']} = {item['value']}" + (f' "{item["quote"]}"' if item["quote"] else "")
                      for item in sample["evidence"]]  # fmt: skip
            lines.append(f"used: {', '.join(sample['used_columns'])}")
            if sample["metadata_context"] is not None:
                lines.append(f"metadata: {sample['metadata_context']}")
            blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", TASKS)
def test_writing_is_as_reviewed(task, mode):
    path = GOLDEN / f"{task}-{mode}.txt"
    assert render(task, mode) == path.read_text(encoding="utf-8"), "see this file's docstring"


if __name__ == "__main__":
    for task in TASKS:
        for mode in MODES:
            (GOLDEN / f"{task}-{mode}.txt").write_text(render(task, mode), encoding="utf-8")
