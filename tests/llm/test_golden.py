"""What the template writer writes, and what a language model is asked, as files a person can review: one of each per
task and mode.

After a wanted change: ``python -m tests.llm.test_golden`` rewrites them; read the difference before committing it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.llm import instructions, prompts
from datagen.llm.answers import Blame, Failure
from datagen.llm.asking import Asker
from datagen.llm.settings import LlmConfig
from datagen.quality import facts
from datagen.stages.write import DEFAULT_COUNTS, DEFAULT_MAX_TOKENS
from datagen.tables import MODES, TASKS
from datagen.testing.records import NULLABLE, clip_rows, without
from datagen.writing import template
from datagen.writing.language_model import LanguageModelWriter, Manner

GOLDEN = Path(__file__).parents[1] / "golden"
_SHOWN = ("question_type", "question", "reasoning", "answer", "answer_label", "response", "response_style", "scenario",
          "rejected_emotion", "rejected_response", "rejected_style")  # fmt: skip


def clips():
    """An English clip of which all is known, a German one with gaps, one without an emotion, one without words."""
    english = next(row for row in clip_rows(50, seed=21, language="en") if row["emotion"] == "angry" and row["events"])
    german = next(row for row in clip_rows(50, seed=22, language="de") if row["emotion"] == "sad")
    nameless = next(row for row in clip_rows(50, seed=23, language="en") if row["arousal_level"] == "high")
    wordless = next(row for row in clip_rows(50, seed=24, language="es") if row["emotion"] == "happy")
    gaps = {names[0]: index for index, names in enumerate(NULLABLE)}
    yield (
        "english, everything known, a scenario",
        {
            **english,
            "cue_relation": "neutral_text",
            "scenario": "A neighbour speaks to somebody at the door in the evening.",
            "contrast_question": "What feeling does the voice carry?",
        },
    )
    yield "german, no sex, age or pitch", without(german, (gaps["sex"], gaps["age_years"], gaps["f0_median_hz"]))
    yield "english, no emotion", without(nameless, (gaps["emotion"],))
    yield "spanish, no transcript, an emotion by a model", {
        **without(wordless, (gaps["transcript"],)),
        "label_source": "pseudo",
        "emotion_scores": [{"label": name, "score": score} for name, score in (("happy", 0.81), ("neutral", 0.14))],
        "emotion_timeline": [{"start": 0.0, "end": 1.5, "label": "neutral", "score": 0.6},
                             {"start": 1.5, "end": 3.0, "label": "happy", "score": 0.9}],
        "contrast_group_id": None,
    }  # fmt: skip


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


class Onlooker(Asker):
    """Keeps what is asked; nobody answers."""

    def __init__(self):
        super().__init__(LlmConfig(model="nobody"))
        self.requests = []

    def ask(self, requests, follow):
        for request in requests:
            self.requests.append(request)
            nothing = Failure("Nobody", "nobody is there", Blame.REQUEST)
            assert follow(request, nothing) is None
            yield request, nothing


def render_prompts(task: str, mode: str) -> str:
    """Each instruction once, then what is asked of each clip."""
    loaded = instructions.load(instructions.folder("write"))
    names = {prompt.instruction: name for name, prompt in loaded.items()}
    said, blocks = {}, []
    for name, row in clips():
        onlooker = Onlooker()
        manner = Manner({task: DEFAULT_COUNTS[task]}, (mode,), DEFAULT_MAX_TOKENS, withheld_share=0.5)
        LanguageModelWriter(onlooker, loaded, manner).write([facts.from_row(row)])
        blocks.append(f"=== {name} ===")
        if not onlooker.requests:
            blocks.append("(nothing to ask)\n")
        for request in onlooker.requests:
            instruction, question = (message["content"] for message in request.messages)
            prompt = names[instruction]
            said[prompt] = f"=== instruction of {prompt}, answered as {request.schema['title']!r} ===\n{instruction}\n"
            blocks.append(f"--- {prompt}, at most {request.sampling.max_tokens} tokens ---\n{question}\n")
    return "\n".join([*(said[name] for name in sorted(said)), *blocks])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", TASKS)
def test_a_language_model_is_asked_as_reviewed(task, mode):
    path = GOLDEN / f"llm-{task}-{mode}.txt"
    assert render_prompts(task, mode) == path.read_text(encoding="utf-8"), "see this file's docstring"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", TASKS)
def test_writing_is_as_reviewed(task, mode):
    path = GOLDEN / f"{task}-{mode}.txt"
    assert render(task, mode) == path.read_text(encoding="utf-8"), "see this file's docstring"


if __name__ == "__main__":
    for task in TASKS:
        for mode in MODES:
            (GOLDEN / f"{task}-{mode}.txt").write_text(render(task, mode), encoding="utf-8")
            (GOLDEN / f"llm-{task}-{mode}.txt").write_text(render_prompts(task, mode), encoding="utf-8")
