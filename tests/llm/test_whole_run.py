"""A whole run with a language model at its end, on a server that fails on purpose: what it leaves behind does not show
how much went wrong on the way."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from datagen.errors import RunError
from datagen.quality import checks, facts
from datagen.tables import SAMPLES
from datagen.testing.llm_readers import either, judge, solver
from datagen.testing.llm_scenarios import scene_author
from datagen.testing.llm_server import FAULTS, Faults, Server
from datagen.testing.llm_writer import author

from .whole_run import conserved, go_on, journalled, samples

MIND = either(scene_author(), solver(), judge(), author)
#: Columns that say how it went, not what came out.
HOW = ("attempts", "judge_votes", "judge_failures")
#: Answers that fit their schema and are wrong: a reader without ears cannot be told from a mistaken one.
LIES = ("wrong_label", "hallucinated", "echo")
PATIENT = ("llm.tries=12", "llm.timeout_s=1", "llm.backoff_s=0.01", "stages.blind.retries=8", "stages.judge.retries=8",
           "stages.write.retries=8", "stages.scenario.retries=8")  # fmt: skip


def asked(server: Server) -> tuple[str, ...]:
    return ("llm.server=endpoint", f"llm.urls=[{server.url}]", "llm.model=fake", "llm.licence=Apache-2.0")


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory):
    with Server(answering=MIND) as server:
        space = go_on(prepared, tmp_path_factory.mktemp("calm") / "run", *asked(server), *PATIENT)
        return space, samples(space, HOW)


def test_every_stage_that_asks_leaves_its_columns(undisturbed) -> None:
    space, table = undisturbed
    counts = conserved(space)
    assert counts["write"].metrics["llm_answers"] > 100 and counts["write"].rejected == 0
    assert {"classification", "qa", "reasoning", "response", "caption"} == set(table["task"].to_pylist())
    assert set(table["route"].to_pylist()) >= {"sft", "rl"}
    for name in ("blind_text_accuracy", "judge_score", "evidence_accuracy", "rejected_response", "scenario",
                 "candidates", "audio_contribution", "reward_weight", "question_repeats"):  # fmt: skip
        assert table[name].null_count < len(table), name
    quality = json.loads((Path(space.dataset()) / "quality.json").read_text("utf-8"))
    assert quality["writing"]["slots"] == counts["write"].metrics["write_slots"] > 0


def test_faults_of_all_kinds_do_not_show_in_what_is_written(prepared, undisturbed, tmp_path) -> None:
    calm, _ = undisturbed
    with Server(answering=MIND, faults=Faults.all(0.03)) as server:
        space = go_on(prepared, tmp_path / "run", *asked(server), *PATIENT, until="verify")
        struck = set(server.counts().sent)
    assert struck >= set(FAULTS) - {"hang"}
    conserved(space)
    # Candidates that the checks found wanting are kept as such; nobody asks again for them.
    names = [name for name in SAMPLES.names if name not in ("attempts", "candidates")]
    for shard in calm.plan.shards:
        before, after = (
            each.store.read(each.plan.table_plan("samples", shard, names, live=False)) for each in (calm, space)
        )
        assert after.equals(before)


def test_the_finished_dataset_is_that_of_an_undisturbed_run(prepared, undisturbed, tmp_path) -> None:
    faults = Faults(**{name: 0.03 for name in FAULTS if name not in (*LIES, "hang")})
    with Server(answering=MIND, faults=faults) as server:
        space = go_on(prepared, tmp_path / "run", *asked(server), *PATIENT)
    conserved(space)
    assert samples(space, HOW).equals(undisturbed[1])


def test_nothing_wrong_gets_through(prepared, tmp_path) -> None:
    """An author that lies in a third of what it says: fewer samples, and every one of them is sound."""
    with Server(answering=MIND, faults=Faults(wrong_label=0.1, hallucinated=0.1, echo=0.1)) as server:
        space = go_on(prepared, tmp_path / "run", *asked(server), until="verify")
    counts = conserved(space)
    assert counts["verify"].rejected == 0  # ``write`` holds its texts to the same checks
    columns = [*SAMPLES.names, *facts.REQUIRED_COLUMNS, *facts.OPTIONAL_COLUMNS]
    for shard in space.plan.shards:
        for row in space.store.read(space.plan.table_plan("samples", shard, columns, live=False)).to_pylist():
            assert checks.check(row, facts.from_row(row)) == []
            texts = " ".join(str(row[name]) for name in ("question", "reasoning", "answer", "response"))
            assert "Ignore all previous" not in texts


def test_a_killed_run_asks_for_nothing_twice(prepared, undisturbed, tmp_path) -> None:
    """The cap on tokens ends it in the middle; the same command with a higher one goes on."""
    with Server(answering=MIND) as server:
        with pytest.raises(RunError, match="tokens are spent"):
            go_on(prepared, tmp_path / "run", *asked(server), *PATIENT, "llm.most_tokens=60000")
        first = len(list(journalled(tmp_path / "run")))
        space = go_on(prepared, tmp_path / "run", *asked(server), *PATIENT, "llm.most_tokens=60000000")
        again = [times for times in server.counts().calls.values() if times > 1]
        assert again == [2], "the one token before each of the two runs"
    keys = Counter(journalled(tmp_path / "run"))
    assert 0 < first < len(keys) and max(keys.values()) == 1
    conserved(space)
    assert samples(space, HOW).equals(undisturbed[1])
