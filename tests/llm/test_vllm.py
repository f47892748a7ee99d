"""With a real vLLM on the CPU and a tiny model: what only the real server can show."""

from __future__ import annotations

import json
from typing import Any

from datagen.llm.answers import Answer
from datagen.llm.asking import Asker
from datagen.llm.request import Sampling
from datagen.llm.settings import LlmConfig

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["heard", "emotion", "arousal"],
    "properties": {
        "heard": {"type": "string", "minLength": 1, "maxLength": 40},
        "emotion": {"enum": ["angry", "happy", "neutral", "sad"]},
        "arousal": {"type": "integer", "minimum": 1, "maximum": 5},
    },
}


def asker(settings: LlmConfig, url: str, **more: Any) -> Asker:
    return Asker(settings.model_copy(update={"in_flight": 16}), lambda: (url,), **more)


def test_answers_fit_the_schema_and_without_it_they_do_not(vllm_settings: LlmConfig, vllm_url: str) -> None:
    this = asker(vllm_settings, vllm_url)
    free = asker(vllm_settings.model_copy(update={"constraint": "none"}), vllm_url)
    sampling = Sampling(temperature=1.0, max_tokens=200)

    def asked(by: Asker) -> list[Any]:
        questions = [f"Clip {number}: what do you hear?" for number in range(12)]
        return [by.request("You hear voices.", question, SCHEMA, sampling) for question in questions]

    held = [outcome for _, outcome in this.ask(asked(this))]
    assert all(isinstance(outcome, Answer) for outcome in held), held
    texts = [outcome.reply.content for outcome in held if outcome.reply]
    assert all(list(json.loads(text)) == list(SCHEMA["properties"]) for text in texts), "in the schema's order"
    assert all(text.startswith('{"heard":"') and text[-1] == "}" and text[-2].isdigit() for text in texts), "compact"
    assert this.metrics()["llm_answers"] == 12
    assert not [outcome for _, outcome in free.ask(asked(free)) if isinstance(outcome, Answer)]
