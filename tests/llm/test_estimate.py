"""What asking will take, before it starts: the stage's own prompts, asked of nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from datagen import asked
from datagen.config import load
from datagen.forecast import Asking, askings
from datagen.llm import estimate, typical
from datagen.llm.asking import Asker
from datagen.llm.estimate import Rate
from datagen.llm.rehearsal import filled, rehearse
from datagen.llm.request import Sampling
from datagen.llm.schema import Shape
from datagen.llm.settings import LlmConfig
from datagen.resources import folder
from datagen.run import look_at_input, open_run
from datagen.stage import Output, Stage, StageConfig
from datagen.status import StageCount
from datagen.testing.llm_server import Server

SCHEMAS = sorted((folder("schemas") / "llm").rglob("*.json"))
NOBODY = LlmConfig(server="endpoint", model="a/model", urls=("http://127.0.0.1:1/v1",))
SHAPE = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 300}}, "required": ["text"],
         "additionalProperties": False}  # fmt: skip


class Greeting(Stage):
    """Asks about every row once, and again as long as the answer does not greet."""

    name, version, table = "greeting", "1", "clips"
    reads = ("transcript",)

    class Config(StageConfig):
        llm: LlmConfig = NOBODY
        retries: int = 3

    def asks(self) -> LlmConfig:
        return self.config.llm

    def process(self, batch: pa.Table) -> Output:
        def again(request: Any, outcome: Any) -> Any:
            if "hello" in getattr(outcome, "text", "") or request.attempt == self.config.retries:
                return None
            return self.asker.request("i" * 400, "q" * 40, SHAPE, Sampling(), attempt=request.attempt + 1)

        asking = [self.asker.request("i" * 400, "q" * 40, SHAPE, Sampling(seed=row)) for row in range(len(batch))]
        answers = [outcome.value["text"] for _, outcome in self.asker.ask(asking, again)]
        return Output(pa.table({"greeting": answers}), metrics=self.asker.metrics())


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_a_rehearsal_answers_fits_every_schema(path: Path) -> None:
    schema = json.loads(path.read_text("utf-8"))
    value = filled(schema)
    assert Shape(schema).fault(value) is None
    assert json.dumps(value) == json.dumps(filled(schema))


def test_a_rehearsal_counts_what_a_server_would_be_asked() -> None:
    rows = pa.table({"clip_id": ["a", "b", "c"], "transcript": ["one", "two", "three"]})
    load = rehearse(Greeting(), rows)
    assert (load.requests, load.rows, load.prompt_bytes, load.shared_bytes) == (3, 3, 3 * 440, 3 * 400)
    assert 3 * 50 < load.answer_bytes < 3 * 320
    with Server(answering=lambda body: {"text": "hello " * 18}) as server:
        stage = Greeting()
        stage.asker = Asker(LlmConfig(server="endpoint", model="fake", urls=(server.url,)))
        metrics = stage.process(rows).metrics
    assert metrics["llm_requests"] == load.requests
    rate = estimate.rehearsed(load, retries=False)
    assert rate.times(3).requests == 3
    assert rate.times(3).tokens_in == load.prompt_bytes / 4
    assert estimate.rehearsed(load, retries=True).requests == pytest.approx(1.1)


def test_figures_of_the_run_take_the_place_of_the_rehearsal() -> None:
    assert estimate.measured({"llm_requests": 10, "llm_prompt_tokens": 1000}, rows=10) is None
    metrics = {"llm_requests": 100.0, "llm_replayed": 100.0, "llm_prompt_tokens": 50_000.0,
               "llm_completion_tokens": 10_000.0}  # fmt: skip
    rate = estimate.measured(metrics, rows=50)
    assert rate == Rate(4.0, 2000.0, 400.0, measured=True)  # replayed calls cost nothing here, and elsewhere they would


def test_prices_are_told_where_they_are_known() -> None:
    prices = {"price_in": 0.5, "price_out": 2.0}
    assert estimate.price(NOBODY, 1e6, 1e6, 3.0) is None
    assert estimate.price(NOBODY.model_copy(update=prices), 2e6, 1e6, None) == 3.0
    rented = NOBODY.model_copy(update={"price_gpu_hour": 2.0})
    assert estimate.price(rented, 1e6, 1e6, None) is None
    assert estimate.price(rented, 1e6, 1e6, 1.5) == 3.0
    assert estimate.gpu_hours(3600.0, 100.0) == 0.01
    assert estimate.gpu_hours(3600.0, None) is None


def test_every_stage_that_asks_can_be_rehearsed_before_there_is_a_clip(tmp_path: Path) -> None:
    source = Path(folder("schemas")).parent / "examples" / "clips"
    for name in ("cpqa", "full", "paras2s"):
        recipe = load(name, profile="embedded", overrides={"stages.ingest.input": str(source)})
        space = open_run(str(tmp_path / name), recipe)
        look_at_input(space, None, save=False)
        found = askings(space, space.plan.overview(), 35, 360.0, None)
        assert [asking.stage for asking in found] == [s for s, stage in space.pipeline.stages.items() if stage.asks()]
        assert {"write", "blind"} <= {asking.stage for asking in found}
        for asking in found:
            assert asking.cost is not None, asking.stage
            assert asking.cost.requests > 0 and asking.cost.tokens_in > 100 and asking.cost.tokens_out > 10, asking
            assert not asking.cost.measured
        more = {asking.stage: asking for asking in askings(space, space.plan.overview(), 35, 360.0, 7200)}
        for asking in found:
            assert more[asking.stage].cost.requests == pytest.approx(100 * asking.cost.requests, rel=0.02)


def test_candidates_shuffles_and_votes_cost_what_they_cost(tmp_path: Path) -> None:
    def cost(*sets: str) -> dict[str, float]:
        recipe = load("paras2s", profile="embedded", sets=sets, overrides={"stages.ingest.input": str(tmp_path)})
        space = open_run(str(tmp_path / "run"), recipe)
        found = askings(space, space.plan.overview(), 0, 0.0, 100)
        return {asking.stage: asking.cost.requests for asking in found if asking.cost}

    one = cost("stages.write.candidates=1")
    more = cost("stages.write.candidates=4", "stages.blind.shuffles=10", "stages.judge.votes=4")
    assert more["write"] > 1.5 * one["write"]
    assert more["blind"] == pytest.approx(2 * one["blind"], rel=0.1)
    assert more["judge"] > 1.5 * one["judge"]
    assert more["scenario"] == one["scenario"]


def test_a_cap_that_will_not_do_is_said_before_the_run() -> None:
    capped = NOBODY.model_copy(update={"most_tokens": 1_000_000, "most_gpu_hours": 2.0, "tokens_per_s": 100.0})
    asking = Asking("write", capped, 100, Rate(500, 900_000, 200_000))
    (told,) = asked.beyond([asking])
    assert "more than llm.most_tokens (1,000,000)" in told and "1.1 M" in told
    assert asked.beyond([Asking("write", capped, 100, Rate(500, 700_000, 200_000))]) == []
    assert asked.beyond([Asking("write", capped, 100, Rate(500, 700_000, 200_000))], asked.Spent(150_000))
    (hours,) = asked.beyond([Asking("write", capped, 100, Rate(500, 1000, 1_000))], asked.Spent(gpu_hours=2.5))
    assert "llm.most_gpu_hours (2)" in hours


def test_what_is_not_known_is_not_made_up() -> None:
    shown = asked.ahead([Asking("write", NOBODY, 100, None), Asking("blind", NOBODY, 900, Rate(4500, 9e6, 9e4))])
    assert shown is not None
    write, blind, total = shown.rows
    assert write[:2] == ("write", "100") and set(write[2:]) == {"?"}
    assert blind[1:] == ("900", "4.5 k", "9 M", "90 k", "?", "·", "rehearsal")
    assert total[2:5] == ("4.5 k", "9 M", "90 k")
    assert "model is asked by write, blind" in shown.notes
    assert any("what write will ask is not known" in note for note in shown.notes)
    assert any("GPU hours are not known" in note for note in shown.notes)
    assert asked.ahead([]) is None


def test_what_was_asked_is_told_by_stage() -> None:
    metrics = {
        "llm_requests": 1000.0, "llm_answers": 990.0, "llm_replies": 995.0, "llm_replayed": 12.0, "llm_retries": 7.0,
        "llm_prompt_tokens": 2e6, "llm_cached_tokens": 1.5e6, "llm_completion_tokens": 3e5, "llm_latency_s": 1990.0,
        "llm_failed_Truncated": 8.0, "llm_failed_SchemaMismatch": 2.0,
    }  # fmt: skip
    priced = NOBODY.model_copy(update={"price_in": 1.0, "price_out": 10.0, "most_tokens": 5_000_000})
    counts = [StageCount("write", "clips", metrics=metrics), StageCount("split", "clips")]
    shown = asked.behind(counts, {"write": priced}, asked.Spent(2_400_000, 300_000, 0.5))
    assert shown is not None
    ((*row,),) = shown.rows
    assert row == ["write", "1 k", "12", "2 M", "75%", "300 k", "2.0 s", "5.00"]
    assert any("write, no answers and retries: Truncated 8, SchemaMismatch 2, 7 tries more" in n for n in shown.notes)
    assert any("2,400,000 tokens of 5,000,000 allowed, 0.50 GPU hours" in note for note in shown.notes)
    assert asked.behind([StageCount("split", "clips")], {}) is None


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "0"), (950, "950"), (999.4, "999"), (1000, "1 k"), (12_345, "12.3 k"), (999_999, "1 M"), (4.56e9, "4.56 G")],
)
def test_amounts_are_short(number: float, told: str) -> None:
    assert asked.amount(number) == told


def test_typical_clips_are_made_of_columns_of_the_tables() -> None:
    from datagen import tables

    known = {field.name for value in vars(tables).values() if isinstance(value, pa.Schema) for field in value}
    rows = typical.clips()
    assert {name for row in rows for name in row} <= known
    assert len({row["clip_id"] for row in rows}) == len(rows)
