"""scenario: one text per wording of a contrast group, whatever the batches, the shards and the server's faults."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pytest

from datagen import tables
from datagen.files import Files
from datagen.llm import instructions
from datagen.llm.asking import Asker
from datagen.llm.journal import Journal
from datagen.llm.settings import LlmConfig
from datagen.quality import lexicon, scenarios
from datagen.quality.facts import ANSWERABLE
from datagen.quality.scenarios import Wording
from datagen.stages.scenario import Scenario, ScenarioConfig
from datagen.testing.llm_scenarios import asked_for, scene_author
from datagen.testing.llm_server import Faults, Server
from datagen.testing.records import clip_rows, clip_table

GOLDEN = Path(__file__).parents[1] / "golden"
ENGLISH = lexicon.load("en")


def llm(url):
    return LlmConfig(server="endpoint", model="fake", urls=(url,), tries=40)


def stage(url, journal=None, **config):
    made = Scenario(ScenarioConfig(llm=llm(url), **config), seed=3)
    made.asker = Asker(llm(url), journal=journal)
    made.setup()
    return made


def batch(clips):
    return clips.select(["clip_id", *Scenario.reads, *Scenario.optional_reads])


def run(url, clips, **config):
    return stage(url, **config).process(batch(clips))


@pytest.fixture(scope="module")
def clips():
    rows = clip_rows(120, seed=4)
    for row in rows[::10]:
        row["contrast_group_id"] = row["contrast_emotions"] = None
    return tables.from_rows(rows, clip_table(1).schema)


@pytest.fixture(scope="module")
def server():
    with Server(answering=scene_author()) as running:
        yield running


@pytest.fixture(scope="module")
def out(server, clips):
    return run(server.url, clips)


def test_clips_with_the_same_words_get_the_same_text_and_only_groups_get_one(clips, out):
    texts = defaultdict(set)
    for clip, row in zip(clips.to_pylist(), out.columns.to_pylist(), strict=True):
        if clip["contrast_group_id"] is None:
            assert set(row.values()) == {None}
        else:
            assert row["scenario"] and row["contrast_question"] and row["scenario_reason"] is None
            texts[clip["contrast_group_id"]].add((row["scenario"], row["contrast_question"]))
    assert len(texts) > 8 and all(len(found) == 1 for found in texts.values())
    assert len({scenario for found in texts.values() for scenario, _ in found}) > 3
    assert out.columns.schema == tables.SCENARIO and not out.rejects and not out.drops


def test_each_wording_is_asked_once(server, clips, out):
    wordings = {each for row in clips.to_pylist() if isinstance(each := scenarios.wording(row), Wording)}
    assert out.metrics["scenario_wordings"] == out.metrics["scenario_kept"] == len(wordings)
    assert out.metrics["llm_requests"] == 7 * len(wordings)  # a text, and two verdicts on three criteria


@pytest.mark.parametrize("size", [1, 7, 50])
def test_batches_do_not_matter(server, clips, out, size):
    made = stage(server.url)
    few = clips.slice(0, 50) if size == 1 else clips
    parts = [made.process(batch(few.slice(at, size))).columns for at in range(0, few.num_rows, size)]
    assert pa.concat_tables(parts).equals(out.columns.slice(0, few.num_rows))


def test_a_model_of_another_mind_later_does_not_change_a_text_that_is_in_the_journal(tmp_path, server, clips, out):
    """Clips of one group lie in several shards: the first text counts, in this worker and in the next one."""
    files = Files(str(tmp_path))
    first = stage(server.url, Journal(files, "llm/journal/scenario"))
    half = clips.num_rows // 2
    first.process(batch(clips.slice(0, half)))
    with Server(answering=scene_author(verdicts={"neutral": 1})) as other:
        first.asker.settings = llm(other.url)
        again = first.process(batch(clips.slice(0, half)))  # the same worker: records that it added itself
        assert again.columns.equals(out.columns.slice(0, half)) and "llm_requests" not in again.metrics
        first.asker.close()
        second = stage(other.url, Journal(files, "llm/journal/scenario"))
        later = second.process(batch(clips.slice(half)))
        second.asker.close()
    seen = {scenarios.wording(row) for row in clips.slice(0, half).to_pylist()}
    for clip, row, before in zip(
        clips.slice(half).to_pylist(), later.columns.to_pylist(), out.columns.slice(half).to_pylist(), strict=True
    ):
        if scenarios.wording(clip) in seen:
            assert row == before
        else:
            assert row["scenario"] is None and row["scenario_reason"] == "text_neutral is below 3"


def test_one_worker_asks():
    assert Scenario.wants(ScenarioConfig()).workers == 1


def test_prompts_hold_nothing_of_a_single_clip(clips):
    seen = []

    def listen(body):
        seen.append(" ".join(str(message["content"]) for message in body["messages"]))
        return scene_author()(body)

    told = {**clips.to_pylist()[1], "contrast_emotions": ["angry", "sad"], "emotion": "happy", "sex": "male"}
    with Server(answering=listen) as running:
        once = stage(running.url).process(batch(tables.from_rows([told], clips.schema)))
        other = {**told, "clip_id": "x-0-0-1", "emotion": "sad", "speaker": "somebody", "duration": 9.0, "arousal": 0.1}
        other["transcript"] = told["transcript"].upper() + "!!"
        again = stage(running.url).process(batch(tables.from_rows([other], clips.schema)))
    assert again.columns.equals(once.columns)
    assert len(seen) == 14 and len(set(seen)) <= 5  # what is sent differs by prompt and order of voices alone
    assert not any("happy" in text.split("The words")[-1] or "male" in text.split("The words")[-1] for text in seen)


@pytest.mark.parametrize(
    ("verdicts", "asked"),
    [
        ({"neutral": 2}, {"neutral"}),
        ({"plausible": 2}, {"neutral", "scenario", "plausible", "relevant"}),
        ({"relevant": 1}, {"neutral", "scenario", "plausible", "relevant"}),
    ],
)
def test_what_falls_short_is_not_used_and_says_so(clips, verdicts, asked):
    names = set()

    def listen(body):
        names.add(asked_for(body))
        return scene_author(verdicts)(body)

    with Server(answering=listen) as running:
        out = run(running.url, clips.slice(0, 12))
    rows = [row for row in out.columns.to_pylist() if row["scenario_reason"]]
    (criterion,) = verdicts
    column = scenarios.VERDICTS[criterion]
    assert names == asked and len(rows) == 10
    for row in rows:
        assert row["scenario"] is None and row["contrast_question"] is None and row["synthesis_requests"] is None
        assert row[column] == verdicts[criterion] and row["scenario_reason"] == f"{column} is below 3"


def test_least_is_a_setting(server, clips):
    out = run(server.url, clips.slice(0, 12), least=4.5)
    assert {row["scenario_reason"] for row in out.columns.to_pylist()} == {None, "text_neutral is below 4.5"}


def test_a_scenario_that_names_an_emotion_is_asked_for_again_and_then_given_up(clips):
    attempts = defaultdict(int)
    refused = []

    def answer(body):
        said = scene_author(leaking=lambda words: "door" in words)(body)
        if asked_for(body) == "scenario":
            words = str(body["messages"][1]["content"])
            attempts[words] += 1
            refused.append(str(body["messages"][-1]["content"]) if len(body["messages"]) > 2 else "")
            if "kids" in words and attempts[words] == 2:
                return scene_author()(body)
        return said

    with Server(answering=answer) as running:
        out = run(running.url, clips.slice(0, 60))
    for clip, row in zip(clips.slice(0, 60).to_pylist(), out.columns.to_pylist(), strict=True):
        if clip["contrast_group_id"] and "Dogs" in clip["transcript"]:
            assert (row["scenario"], row["scenario_reason"]) == (None, "none could be used: LabelLeak")
        elif clip["contrast_group_id"]:
            assert row["scenario"] and "furious" not in row["scenario"]
    assert {count for words, count in attempts.items() if "dogs" in words} == {3}  # two retries
    assert {count for words, count in attempts.items() if "kids" in words} == {2}
    assert any("'furious', a word for 'angry'" in message for message in refused)


def test_faults_of_the_server_change_nothing_but_counters(clips, out):
    faults = Faults(
        rate_limited=0.05, http_500=0.05, drop=0.05, cut=0.05, invalid_json=0.05, whitespace=0.05, unconstrained=0.05,
        refusal=0.05, empty=0.05, wrong_shape=0.05, reasoning=0.05,
    )  # fmt: skip
    with Server(answering=scene_author(), faults=faults) as running:
        disturbed = run(running.url, clips, retries=12)
    assert disturbed.columns.equals(out.columns)
    assert sum(value for name, value in disturbed.metrics.items() if name.startswith("llm_failed_")) > 5


def test_a_verdict_that_cannot_be_read_loses_no_row(clips):
    with Server(answering=lambda body: "no JSON at all") as running:
        out = run(running.url, clips.slice(0, 12), retries=0)
    rows = [row for row in out.columns.to_pylist() if row["scenario_reason"]]
    assert len(rows) == 10 and not out.rejects
    assert {row["scenario_reason"] for row in rows} == {"no verdict for text_neutral could be read"}


def test_queries_to_be_spoken_are_the_same_for_all_clips_of_a_group(server, clips):
    out = run(server.url, clips, synthesis=4)
    by_words = defaultdict(set)
    for clip, row in zip(clips.to_pylist(), out.columns.to_pylist(), strict=True):
        if clip["contrast_group_id"] is None:
            assert row["synthesis_requests"] is None
            continue
        by_words[clip["contrast_group_id"]].add(str(row["synthesis_requests"]))
        if clip["text_lang"] == "pl" and lexicon.load("pl") is None:
            assert row["synthesis_requests"] == []
            continue
        voices = defaultdict(list)
        for request in row["synthesis_requests"]:
            assert request["query"] and request["scenario"] and request["emotion"] in clip["contrast_emotions"]
            voices[request["query"]].append(request["emotion"])
        assert voices and all(len(set(pair)) == 2 == len(pair) for pair in voices.values())
    assert all(len(found) == 1 for found in by_words.values())


def test_queries_that_tell_the_mood_are_left_out(clips):
    with Server(answering=scene_author(verdicts={"neutral": lambda words: 2 if "parcel" in words else 4})) as running:
        out = run(running.url, clips.slice(1, 9), synthesis=2)
    assert {str(row["synthesis_requests"]) for row in out.columns.to_pylist()} == {"[]"}


def test_no_server_is_said_before_anything_starts():
    assert "llm.server" in Scenario().check() and Scenario(ScenarioConfig(llm=llm("http://x/v1"))).check() is None


def test_what_decides_the_text_is_part_of_the_key_and_where_it_is_served_is_not():
    here, there = (Scenario(ScenarioConfig(llm=llm(url))) for url in ("http://a/v1", "http://b/v1"))
    assert here.semantics() == there.semantics() and "llm" in ScenarioConfig.non_semantic
    other = Scenario(ScenarioConfig(llm=llm("http://a/v1").model_copy(update={"revision": "2"})))
    assert other.semantics() != here.semantics()
    assert here.provenance()[0].licence == "unknown"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"contrast_group_id": None}, None),
        ({"contrast_emotions": ["angry", "other"]}, "fewer than two emotions"),
        ({"transcript": "Kids...", "transcript_source": "pseudo", "asr_confidence": 0.5}, "not known for sure"),
        ({"transcript": None}, "not known for sure"),
    ],
)
def test_what_cannot_be_asked(row, expected):
    base = {"clip_id": "c", "contrast_group_id": "g", "contrast_emotions": ["sad", "angry"], "transcript": "It's on."}
    found = scenarios.wording({**base, **row})
    assert found is None if expected is None else expected in found
    assert scenarios.wording(base) == Wording("its on", "", ("angry", "sad"))


GOOD = {
    "scenario": "The speaker is a guest who talks to the host at the door of a hotel.",
    "question": "How does the speaker feel about it?",
}


@pytest.mark.parametrize(
    ("change", "error_class"),
    [
        ({}, None),
        ({"scenario": "The speaker is worried about the host at the door of a hotel."}, "LabelLeak"),
        ({"scenario": "A woman talks to the host at the door of a hotel."}, "UnsupportedClaim"),
        ({"scenario": "The speaker talks to the host in a loud voice."}, "UnsupportedClaim"),
        ({"scenario": "As an AI language model I cannot invent a situation."}, "Boilerplate"),
        ({"scenario": "The speaker is a guest who talks to the host at"}, "Truncated"),
        ({"scenario": "Der Gast spricht mit dem Wirt vor der Tür eines Hotels in Berlin."}, "WrongLanguage"),
        ({"question": "Why is the speaker so angry?"}, "LabelLeak"),
        ({"question": "Why does the speaker talk so loudly?"}, "UnsupportedClaim"),
        ({"question": "Say what the speaker wants."}, "WrongQuestion"),
    ],
)
def test_what_may_not_stand_in_a_scenario_or_its_question(change, error_class):
    found = scenarios.scenario_faults({**GOOD, **change}, Wording("its on", "en", ("angry", "sad")), ENGLISH)
    assert (found[0][0] if found else None) == error_class


@pytest.mark.parametrize(
    ("language", "query", "error_class"),
    [
        ("en", "The parcel is on the table.", None),
        ("en", "I am furious about the parcel.", "LabelLeak"),
        ("de", "Ich bin traurig wegen des Pakets.", "LabelLeak"),
        ("en", "It's on!", "NothingNew"),
        ("xx", "The parcel is on the table.", "UncheckedLanguage"),
    ],
)
def test_what_may_not_stand_in_a_query(language, query, error_class):
    asked = Wording("its on", language, ("angry", "sad"))
    found = scenarios.query_faults({**GOOD, "query": query}, asked, ENGLISH, lexicon.load(language))
    assert (found[0][0] if found else None) == error_class


def test_injected_words_change_only_what_is_quoted():
    prompts = instructions.load(instructions.folder("scenario"))
    lines = (Path(__file__).parents[1] / "llm" / "injections.txt").read_text(encoding="utf-8").splitlines()
    for name, prompt in prompts.items():
        shown = [
            prompt.question(words=words, language="en", voices=["angry", "sad"], scenario=words).replace(
                instructions.data(words), "*"
            )
            for words in ("its on", *lines)
        ]
        assert len(set(shown)) == 1, name


def render(name):
    prompt = instructions.load(instructions.folder("scenario"))[name]
    question = prompt.question(
        words="kids are talking by the door",
        language="en",
        voices=["angry", "sad"],
        scenario="The speaker is a guest who talks to the host at the door of a hotel.",
    )
    return f"{prompt.instruction}\n\n=== question ===\n{question}\n\n=== answer ===\n{prompt.schema['title']}\n"


NAMES = ("scenario", "query", "plausible", "relevant", "neutral")


@pytest.mark.parametrize("name", NAMES)
def test_prompts_are_as_reviewed(name):
    """After a wanted change: ``python -m tests.stages.test_scenario`` rewrites them; read the difference."""
    assert render(name) == (GOLDEN / f"llm-scenario-{name}.txt").read_text(encoding="utf-8")


def test_voices_are_emotions_that_can_be_an_answer():
    row = {"clip_id": "c", "contrast_group_id": "g", "contrast_emotions": list(tables.EMOTIONS), "transcript": "On."}
    assert scenarios.wording(row).voices == tuple(sorted(ANSWERABLE))


if __name__ == "__main__":
    for each in NAMES:
        (GOLDEN / f"llm-scenario-{each}.txt").write_text(render(each), encoding="utf-8")
