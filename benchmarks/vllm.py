"""Tokens a second out of a real vLLM: this package's client against vLLM's own benchmark client, on the same prompts.

One server on the CPU with a tiny model, the same for both; they take turns after a round that counts for nothing. Every
answer is JSON of one length. Ours checks each against its schema and journals it; ``vllm bench serve`` does neither,
but reads its answers as a stream, token by token, which it cannot do without.

    python benchmarks/vllm.py [--count 400] [--in-flight 32] [--rounds 5] [--quick]

Exits 1 when ours is below 0.95 of theirs in the fastest round of each (whatever else the machine does only slows
rounds, on a shared one by a factor of three), or an answer of ours is missing or does not fit.
Needs ``make setup-llm-cpu``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from datagen.files import Files
from datagen.llm.answers import Answer
from datagen.llm.asking import Asker
from datagen.llm.journal import Journal
from datagen.llm.request import Sampling
from datagen.llm.settings import LlmConfig
from datagen.testing import vllm

LEAST = 0.95
#: A string of one length, so that both have the same to write.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["heard"],
    "properties": {"heard": {"type": "string", "minLength": 120, "maxLength": 120}},
}
INSTRUCTION = "You are told what was measured of a voice. Say what you hear, as somebody would who listens to it. " * 4
MOST_TOKENS = 600
#: What `vllm bench serve` runs; that command asks for the metadata of a package named vllm, which a rebuild has not.
THEIRS = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
PATIENCE_S = 900.0


def prompts(count: int) -> list[str]:
    return [
        f"{INSTRUCTION}\n\nClip {at}: pitch {80 + at % 200} Hz, {at % 7} syllables a second." for at in range(count)
    ]


def ours(url: str, settings: LlmConfig, count: int, folder: Path) -> tuple[float, int]:
    """Tokens a second, and how many answers fit."""
    asker = Asker(settings, lambda: (url,), Journal(Files(str(folder)), f"calls-{time.monotonic_ns()}"))
    requests = (
        asker.request("", prompt, SCHEMA, Sampling(temperature=1.0, top_p=1.0, max_tokens=MOST_TOKENS, seed=at))
        for at, prompt in enumerate(prompts(count))
    )
    start = time.perf_counter()
    tokens = good = 0
    for _, outcome in asker.ask(requests):
        good += isinstance(outcome, Answer)
        tokens += outcome.reply.completion_tokens if outcome.reply else 0
    asker.close()
    return tokens / (time.perf_counter() - start), good


def theirs(url: str, settings: LlmConfig, count: int, in_flight: int, folder: Path) -> float:
    """Tokens a second."""
    data = folder / "prompts.json"
    turns = [[{"value": prompt}, {"value": "..."}] for prompt in prompts(count)]
    data.write_text(json.dumps([{"conversations": turn} for turn in turns]))
    body = {"structured_outputs": {"json": SCHEMA}, "temperature": 1.0, "top_p": 1.0}
    command = [
        str(vllm.PYTHON), "-c", THEIRS, "--backend", "openai-chat", "--base-url", url.removesuffix("/v1"),
        "--endpoint", "/v1/chat/completions", "--model", settings.model, "--tokenizer", settings.model,
        "--dataset-name", "sharegpt", "--dataset-path", str(data), "--sharegpt-output-len", str(MOST_TOKENS),
        "--num-prompts", str(count), "--max-concurrency", str(in_flight), "--disable-shuffle", "--disable-tqdm",
        "--extra-body", json.dumps(body), "--save-result", "--result-dir", str(folder), "--result-filename", "out.json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found = json.loads((folder / "out.json").read_text())
    if found["completed"] != count:
        raise RuntimeError(f"vllm bench serve finished {found['completed']} of {count} requests")
    return float(found["output_throughput"])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="40 requests, once: whether it runs, no goal on speed")
    asked = parser.parse_args(arguments)
    if asked.quick:
        asked.count, asked.rounds = 40, 1
    if not vllm.PYTHON.exists():
        print("not measured: there is no vLLM here (make setup-llm-cpu)")
        return 1
    with tempfile.TemporaryDirectory(prefix="datagen-vllm-") as name:
        folder = Path(name)
        settings = vllm.settings(folder).model_copy(update={"in_flight": asked.in_flight, "system": False})
        with vllm.serving(settings, folder / "server.log") as url:
            found, good = measure(url, settings, asked.count, asked.in_flight, asked.rounds, folder)
    for side, speeds in found.items():
        print(f"  {side:6s} {max(speeds):7.0f} tokens/s  ({', '.join(f'{each:.0f}' for each in speeds)})")
    ratio = max(found["ours"]) / max(found["theirs"])
    print(f"  {ratio:.3f} of vllm bench serve, at least {LEAST}: {'met' if ratio >= LEAST else 'MISSED'}")
    print(f"  {good} of {asked.count} answers fit their schema")
    return 1 if good < asked.count or (ratio < LEAST and not asked.quick) else 0


def measure(
    url: str, settings: LlmConfig, count: int, in_flight: int, rounds: int, folder: Path
) -> tuple[dict[str, list[float]], int]:
    """Tokens a second of each side per round, and the fewest answers of ours that fit."""
    ours(url, settings, min(count, 2 * in_flight), folder)  # compiles the grammar, fills the prefix cache
    found: dict[str, list[float]] = {"theirs": [], "ours": []}
    fewest = count
    for turn in range(2 * rounds):
        if turn % 4 in (0, 3):  # theirs, ours, ours, theirs: who is first in a round changes
            found["theirs"].append(theirs(url, settings, count, in_flight, folder))
        else:
            speed, good = ours(url, settings, count, folder)
            found["ours"].append(speed)
            fewest = min(fewest, good)
    return found, fewest


if __name__ == "__main__":
    sys.exit(main())
