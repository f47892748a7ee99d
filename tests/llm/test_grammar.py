"""The answers' schemas as the grammar library of vLLM reads them: a text may quote."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from datagen.llm import instructions
from datagen.llm.request import PROSE, for_grammar
from datagen.quality.dice import Dice
from datagen.testing import vllm
from datagen.testing.llm_server.inventing import value

_ACCEPTS = """
import json, sys
import xgrammar
from xgrammar.testing import _is_grammar_accept_string as accepts
for line in sys.stdin:
    schema, text = json.loads(line)
    print(int(accepts(xgrammar.Grammar.from_json_schema(json.dumps(schema)), text)))
"""


def quoting(answer: Any, schema: Any) -> Any:
    """``answer`` with a quotation in every text that may be long."""
    if isinstance(answer, dict):
        return {name: quoting(part, schema["properties"][name]) for name, part in answer.items()}
    if isinstance(answer, list):
        return [quoting(part, schema["items"]) for part in answer]
    return 'One hears "go on" here.' if isinstance(answer, str) and schema.get("maxLength", 0) >= PROSE else answer


@pytest.mark.skipif(not vllm.PYTHON.exists(), reason="no vLLM here: make setup-llm-cpu")
def test_a_constrained_text_may_hold_quotation_marks() -> None:
    prompts = [p for stage in ("write", "judge") for p in instructions.load(instructions.folder(stage)).values()]
    asked = [(p.schema, json.dumps(quoting(value(p.schema, Dice(p.name)), p.schema))) for p in prompts]
    assert all('\\"go on\\"' in text for _, text in asked)
    accepted = {}
    for kind, sent in (("sent", for_grammar), ("whole", lambda schema: schema)):
        lines = "".join(json.dumps([sent(schema), text]) + "\n" for schema, text in asked)
        done = subprocess.run([vllm.PYTHON, "-c", _ACCEPTS], input=lines, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        accepted[kind] = done.stdout.split()
    assert set(accepted["sent"]) == {"1"}
    assert set(accepted["whole"]) == {"0"}, "the library now reads escapes in bounded strings: send the lengths again"
