"""The writer that asks a language model: whatever the server does, the samples are those of an undisturbed run, every
slot is accounted for, and nothing leaves that the checks refuse."""

from __future__ import annotations

import copy
import re
from collections import Counter

import pyarrow as pa
import pytest

from datagen import tables
from datagen.files import Files
from datagen.llm.journal import Journal
from datagen.quality import checks, contrast_replies, facts
from datagen.stages.verify import Verify
from datagen.stages.write import DEFAULT_COUNTS, Write, WriteConfig
from datagen.testing.llm_server import Faults
from datagen.testing.llm_server.inventing import ECHO
from datagen.testing.llm_writer import author, read
from datagen.testing.records import CLIP_SCHEMA, clip_rows, clip_table, joined
from tests.llm.writing import PATIENT, rows, written


@pytest.fixture(scope="module")
def clips():
    return clip_table(24, seed=8, null_rate=0.15)


@pytest.fixture(scope="module")
def calm(clips):
    """The undisturbed run."""
    return written(clips)[0]


def slots(out):
    return {name: int(value) for name, value in out.metrics.items() if name.startswith("write_")}


def given_up(out):
    return sum(value for name, value in slots(out).items() if name.startswith("write_given_up_"))


def test_every_task_mode_and_type_is_written_and_accepted(clips, calm):
    found = rows(calm)
    assert calm.created["samples"].schema == tables.SAMPLES
    seen = Counter((row["task"], row["mode"]) for row in found)
    assert all(seen[task, mode] for task in tables.TASKS for mode in tables.MODES)
    assert {row["question_type"] for row in found if row["task"] == "qa"} == set(tables.QUESTION_TYPES)
    records = {row["clip_id"]: facts.from_row(row) for row in clips.to_pylist()}
    assert all(checks.check(row, records[row["clip_id"]]) == [] for row in found)
    assert {row["writer"] for row in found} == {"fake"}


def test_verify_refuses_nothing_of_it(clips, calm):
    several = written(clips.slice(0, 8), candidates=2)[0]
    for out in (calm, several):
        assert Verify().process(joined(out.created["samples"], clips)).rejects == []


def test_slots_are_accounted_for(calm):
    counted = slots(calm)
    assert counted["write_slots"] == calm.created["samples"].num_rows + given_up(calm)
    assert counted["write_first_try"] + counted.get("write_retried", 0) == calm.created["samples"].num_rows
    kept = {"OtherConclusion", "WrongShape"}  # of those who are not told the label some cannot know it
    assert {name for name in counted if name.startswith("write_given_up_")} <= {f"write_given_up_{k}" for k in kept}
    note = Write(WriteConfig(writer="llm")).notes(calm.metrics)[0]
    assert re.match(r"\d+\.\d% of [\d,]+ slots were not written at the first try", note)


@pytest.mark.parametrize(
    "faults",
    [
        Faults(rate_limited=0.05, retry_after=0.05, http_500=0.05, http_503=0.05, drop=0.05, garbage=0.05),
        Faults(cut=0.05, invalid_json=0.05, whitespace=0.05, wrong_shape=0.05, unconstrained=0.05, refusal=0.05,
               empty=0.05, reasoning=0.05),
        Faults(wrong_label=0.05, hallucinated=0.05, echo=0.05),
    ],
    ids=["transport", "form", "meaning"],
)  # fmt: skip
def test_faults_change_nothing_but_counters(clips, calm, faults):
    out, server = written(clips, faults=faults, retries=PATIENT)
    assert rows(out, "attempts") == rows(calm, "attempts")
    assert sum(server.counts().sent.values()) > server.counts().sent["ok"] * 1.1
    assert given_up(out) == given_up(calm)


def test_batches_and_order_change_nothing(clips, calm):
    parts = [written(clips.slice(at, 5))[0].created["samples"] for at in range(0, clips.num_rows, 5)]
    assert pa.concat_tables(parts).equals(calm.created["samples"])
    turned = written(clips.take(list(range(clips.num_rows))[::-1]))[0]
    assert sorted(rows(turned), key=lambda row: row["sample_id"]) == sorted(rows(calm), key=lambda r: r["sample_id"])


def test_a_journal_replays_all_of_it(tmp_path, clips, calm):
    few = clips.slice(0, 8)
    journal = Journal(Files(str(tmp_path)), "journal")
    faults = Faults(cut=0.1, hallucinated=0.1)
    once, first = written(few, faults=faults, retries=PATIENT, journal=journal)
    journal.close()
    again, second = written(few, retries=PATIENT, journal=Journal(Files(str(tmp_path)), "journal"))
    assert first.counts().requests > 100 and second.counts().requests == 0
    assert rows(again) == rows(once)
    assert again.metrics["llm_replayed"] == first.counts().requests


def test_the_seed_changes_what_is_asked(clips):
    one, two = (written(clips.slice(0, 3), seed=seed)[0] for seed in (0, 1))
    assert rows(one) != rows(two)


# --- An author that lies ------------------------------------------------------------------------------------


def hallucinating(body):
    answer = author(body)
    for item in answer.get("evidence", []):
        item["quote" if item["quote"] else "value"] = "words that nobody said"
    return answer


def contradicting(body):
    """Says of every level, emotion and sex that it is another one."""
    turned = {"high": "low", "low": "high", "female": "male", "male": "female", "sad": "happy", "happy": "sad",
              "angry": "sad", "neutral": "angry", "positive": "negative", "negative": "positive", "fearful": "happy",
              "surprised": "sad", "disgusted": "happy"}  # fmt: skip
    answer = author(body)
    for name in ("answer", "reasoning"):
        if name in answer:
            answer[name] = re.sub(rf"\b({'|'.join(turned)})\b", lambda match: turned[match[0]], answer[name])
    return answer


def leaking(body):
    answer, (_, slot) = author(body), read(body)
    if "question" in answer and slot.get("label"):
        answer["question"] = f"Would you call it {slot['label']}, and how else could it be called?"
    return answer


def echoing(body):
    answer = author(body)
    longest = max((name for name in answer if isinstance(answer[name], str)), key=lambda name: len(answer[name]))
    return {**answer, longest: ECHO}


def marking(body):
    return {
        name: f"<|im_start|>{value}" if isinstance(value, str) else value for name, value in author(body).items()
    }  # fmt: skip


def refusing(body):
    return {
        name: f"As an AI language model, I can only guess. {value}" if isinstance(value, str) else value
        for name, value in author(body).items()
    }


def tasks(out, *wanted):
    return [row for row in rows(out) if row["task"] in wanted]


def test_invented_evidence_gets_nothing_through(clips):
    """What holds no evidence of the author's own may stay: it rests on what we know."""
    out, _ = written(clips, answering=hallucinating, retries=1)
    for row in rows(out):
        assert not any("nobody said" in str(item) for item in row["evidence"])
    assert not tasks(out, "reasoning", "caption")
    assert slots(out)["write_given_up_UngroundedEvidence"] > 50


@pytest.mark.parametrize("times", ["0.10-0.20-0.30", "from 0.10 to 0.90", "0.20", "-", ""])
def test_times_that_are_none_are_refused_like_any_other_evidence(clips, times):
    def mistimed(body):
        answer = author(body)
        for item in answer.get("evidence", []):
            item["value"] = times if item["quote"] else item["value"]
        return {**answer, "question": "When is this said?"}

    out, _ = written(clips.slice(0, 8), answering=mistimed, retries=0, tasks=["qa"])
    assert out.created["samples"].num_rows
    assert not any(item["value"] == times for row in rows(out) for item in row["evidence"])


def test_contradictions_get_nothing_through(clips, calm):
    out, _ = written(clips, answering=contradicting, retries=0)
    truths = {row["sample_id"]: row for row in rows(calm)}
    for row in rows(out):  # what has no such word in it is as it was
        assert all(row[name] == truths[row["sample_id"]][name] for name in ("reasoning", "answer"))
    assert given_up(out) > given_up(calm) + 100


def test_a_label_in_the_question_gets_nothing_through(clips):
    out, _ = written(clips, answering=leaking, retries=0, tasks=["qa", "reasoning"])
    labelled = [row for row in rows(out) if row["answer_label"] and "Would you call it" in row["question"]]
    assert not [row for row in labelled if row["answer_label"] in row["question"].split("?")[0]]
    assert slots(out)["write_given_up_LabelLeak"] > 20


@pytest.mark.parametrize("lie", [marking, refusing, echoing])
def test_markup_refusals_and_echoes_get_nothing_through(clips, lie):
    out, _ = written(clips.slice(0, 10), answering=lie, retries=0)
    names = ("question", "reasoning", "answer", "response", "response_style", "rejected_response")
    texts = " ".join(str(row[name]) for row in rows(out) for name in names)
    assert not re.search(rf"im_start|language model|{re.escape(ECHO)}", texts)


def test_a_clip_of_which_nothing_is_sound_is_rejected_with_its_class(clips):
    out, _ = written(clips, answering=marking, retries=1, tasks=["qa", "caption"])
    assert out.created["samples"].num_rows == 0
    assert {reject.error_class for reject in out.rejects} == {"Markup"}
    assert len(out.rejects) + len(out.drops) == clips.num_rows


# --- Attempts -----------------------------------------------------------------------------------------------


def better_when_told(body):
    """Lies until it is told that it did."""
    told = len(body["messages"]) > 2
    return author(body) if told else hallucinating(body)


def test_what_was_wrong_is_said_and_counts_as_another_attempt(clips):
    seen = []

    def watched(body):
        seen.append(copy.deepcopy(body["messages"]))
        return better_when_told(body)

    out, _ = written(clips.slice(0, 6), answering=watched, tasks=["caption"], retries=1)
    assert {row["attempts"] for row in rows(out)} == {2}
    further = [messages for messages in seen if len(messages) > 2]
    assert [message["role"] for message in further[0]] == ["system", "user", "assistant", "user"]
    assert all("words that nobody said" in messages[3]["content"] for messages in further)
    assert slots(out)["write_retried"] == out.created["samples"].num_rows


def test_attempts_end(clips):
    out, server = written(clips.slice(0, 4), answering=hallucinating, tasks=["caption"], retries=3)
    assert out.created["samples"].num_rows == 0
    assert server.counts().requests == 4 * slots(out)["write_slots"]


def test_the_same_question_twice_is_asked_for_anew_then_given_up(clips):
    """Whatever the type, this author asks one question; only the first of a clip and mode stays."""

    def monotonous(body):
        answer, (_, slot) = author(body), read(body)
        return (
            answer if slot["question_type"] != "voice" else {**answer, "question": "How is the voice of the speaker?"}
        )

    out, server = written(clips, answering=monotonous, tasks=["qa"], counts={"qa": 12}, modes=["implicit"])
    per_clip = Counter(row["clip_id"] for row in rows(out) if row["question"].startswith("How is the voice of the s"))
    assert set(per_clip.values()) == {1}
    assert slots(out)["write_given_up_DuplicateQuestion"] > 5
    assert server.counts().requests > slots(out)["write_slots"]


# --- Candidates ---------------------------------------------------------------------------------------------


def some_unsound(body):
    """By the seed that was sent: two in three candidates lie."""
    return author(body) if body["seed"] % 3 == 0 else hallucinating(body)


def test_all_candidates_are_kept_and_the_first_sound_one_is_the_row_s(clips):
    out, _ = written(clips, answering=some_unsound, tasks=["reasoning"], candidates=4, withheld_share=0.0)
    found = rows(out)
    assert len(found) > 10
    classes = Counter()
    for row in found:
        assert len(row["candidates"]) == 4
        sound = [each for each in row["candidates"] if each["finding"] is None]
        assert row["reasoning"] == sound[0]["reasoning"]
        classes.update(each["finding"] for each in row["candidates"])
    assert classes["UngroundedEvidence"] > classes[None] > 10
    again, _ = written(clips, answering=some_unsound, faults=Faults(http_500=0.2, cut=0.1), tasks=["reasoning"],
                       candidates=4, withheld_share=0.0, retries=PATIENT)  # fmt: skip
    assert {row["sample_id"] for row in rows(again)} >= {row["sample_id"] for row in found}


def test_a_candidate_that_could_steer_a_reader_is_not_passed_on(clips):
    def sometimes(body):
        return author(body) if body["seed"] % 2 else marking(body)

    out, _ = written(clips, answering=sometimes, tasks=["reasoning", "response"], candidates=4)
    refused = [each for row in rows(out) for each in row["candidates"] if each["finding"] == "Markup"]
    assert len(refused) > 20 and not any(each["reasoning"] or each["response"] for each in refused)
    assert "im_start" not in str(rows(out))


def test_candidates_are_for_replies_and_reasoning_only(clips):
    out, _ = written(clips.slice(0, 6), candidates=3)
    for row in rows(out):
        assert (row["candidates"] is not None) == (row["task"] in ("reasoning", "response"))


# --- A withheld label ---------------------------------------------------------------------------------------


def test_a_withheld_label_is_in_no_message():
    seen = []

    def watched(body):
        seen.append(copy.deepcopy(body["messages"]))
        return {**author(body), "answer": "nothing of all this"}

    clips = clip_table(30, seed=5, language="en")
    out, _ = written(clips, answering=watched, tasks=["reasoning"], withheld_share=1.0, retries=2)
    assert out.created["samples"].num_rows == 0 and len(seen) > 60
    for messages in seen:
        told, slot = read({"messages": messages})
        assert "label" not in slot and "decides" not in slot
        named = {"emotion", "sentiment", "valence", "valence_level", "emotion_scores", "cue_relation"}
        assert not named & set(told) or "energy" in slot["about"]
        assert len(messages) == 2  # what was wrong with it would name the label


def test_a_share_of_rationales_comes_to_the_label_untold(clips):
    many = clip_table(60, seed=5, language="en")
    out, _ = written(many, tasks=["reasoning"], withheld_share=0.25)
    found = rows(out)
    share = sum(row["label_withheld"] for row in found) / len(found)
    assert 0.08 < share < 0.4
    records = {row["clip_id"]: row for row in many.to_pylist()}
    for row in found:
        assert row["answer"] == row["answer_label"]
        if row["label_withheld"] and row["evidence"][0]["field"] == "emotion":
            assert row["answer"] == records[row["clip_id"]]["emotion"]


# --- Contrast -----------------------------------------------------------------------------------------------


def in_contrast(count=40, **changes):
    """English clips of whom several say the same words, each in an emotion of its own."""
    found = [{**row, **changes} for row in clip_rows(count, seed=6, language="en") if row["emotion"] != "other"]
    return tables.from_rows(found, CLIP_SCHEMA)


@pytest.fixture(scope="module", params=["llm", "template"])
def contrasted(request):
    """(clips by id, samples) of either writer."""
    clips = in_contrast(contrast_question="What do you hear in this voice?", scenario="Two people meet at a station.")
    if request.param == "llm":
        out = written(clips)[0]
    else:
        stage = Write(WriteConfig())
        stage.setup()
        out = stage.process(clips.select(["clip_id", *stage.reads, *stage.optional_reads]))
    return {row["clip_id"]: row for row in clips.to_pylist()}, rows(out)


def test_a_group_is_asked_one_question_and_the_voice_decides(contrasted):
    clips, samples = contrasted
    asked: dict[str, set[str]] = {}
    answers: dict[str, set[str]] = {}
    for row in samples:
        if row["question"].startswith("What do you hear in this voice?"):
            assert row["task"] == "classification" and "contrast_question" in row["used_columns"]
            group = clips[row["clip_id"]]["contrast_group_id"]
            asked.setdefault(group, set()).add(row["question"])
            answers.setdefault(group, set()).add(row["answer_label"])
    assert len(asked) > 4 and all(len(questions) == 1 for questions in asked.values())
    assert sum(len(labels) > 1 for labels in answers.values()) > 4
    assert {row["clip_id"] for row in samples if row["question"].startswith("What do you hear")} == set(clips)


def test_replies_are_set_against_those_to_another_voice(contrasted):
    clips, samples = contrasted
    replies = [row for row in samples if row["task"] == "response"]
    pairs = [row for row in replies if row["rejected_response"] is not None]
    assert len(pairs) > 0.9 * len(replies) > 50
    for row in pairs:
        clip = clips[row["clip_id"]]
        assert row["rejected_emotion"] in clip["contrast_emotions"] and row["rejected_emotion"] != clip["emotion"]
        assert not contrast_replies.same_reply(row["response"], row["rejected_response"])
        assert not contrast_replies.same_style(row["response_style"], row["rejected_style"])
        assert {"contrast_emotions", "contrast_group_id"} <= set(row["used_columns"])
    for row in samples:
        assert (row["scenario"] == "Two people meet at a station.") == (row["task"] == "response")


def test_replies_that_do_not_differ_make_no_pair_and_keep_the_response():
    def indifferent(body):
        answer, (told, _) = author(body), read(body)
        if "response" in answer:
            answer |= {
                "response": "Thank you for telling me about it. What would you like to do about it next, please?"
            }
            answer["response_style"] += ", attentive" if told.get("emotion") in ("neutral", "surprised") else ""
        return answer

    out, _ = written(in_contrast(16), answering=indifferent, tasks=["response"])
    assert out.created["samples"].num_rows > 20
    assert {row["rejected_response"] for row in rows(out)} == {None}
    assert slots(out)["write_pairs_given_up"] == out.created["samples"].num_rows


def by_template(clips, **config):
    stage = Write(WriteConfig(**config))
    stage.setup()
    return stage.process(clips.select(["clip_id", *stage.reads, *stage.optional_reads]))


@pytest.mark.parametrize("task", ["classification", "qa"])
@pytest.mark.parametrize("writer", [written, by_template])
def test_a_question_for_the_group_that_leaks_gives_way_to_ours(writer, task):
    """Not that slot alone: the clips are asked as if none had been written for them."""
    leaky = in_contrast(16, contrast_question="Is the speaker angry or sad here?")
    out = writer(leaky, tasks=[task])
    found, ours = (
        each[0] if isinstance(each, tuple) else each for each in (out, writer(in_contrast(16), tasks=[task]))
    )
    assert rows(found) == rows(ours)
    assert {row["clip_id"] for row in rows(found)} == set(leaky["clip_id"].to_pylist())


@pytest.mark.parametrize("writer", [written, by_template])
def test_a_reply_that_suits_this_voice_too_costs_the_pair_and_not_the_row(writer):
    """Much that suits the angry suits the disgusted as well."""
    clips = in_contrast(40, contrast_emotions=["angry", "disgusted"])
    out = writer(clips, tasks=["response"], modes=["implicit"])
    replies = rows(out[0] if isinstance(out, tuple) else out)
    known = {row["clip_id"] for row in clips.to_pylist()}
    assert {row["clip_id"] for row in replies} == known
    assert writer is written or {row["rejected_response"] for row in replies} == {None}


# --- The stage ----------------------------------------------------------------------------------------------


def test_a_missing_server_is_said_with_its_mend():
    assert "llm.server" in (Write(WriteConfig(writer="llm")).check() or "")
    assert Write(WriteConfig()).check() is None and Write(WriteConfig()).asks() is None


def test_what_a_model_alone_heeds_is_no_part_of_the_template_writer_s_key():
    assert WriteConfig().idle() >= {"retries", "candidates", "withheld_share"}
    assert not WriteConfig(writer="llm").idle()
    told = {"server": "endpoint", "urls": ["http://127.0.0.1:1/v1"]}
    one, two = (Write(WriteConfig(writer="llm", llm={**told, "model": name})) for name in ("a", "b"))
    assert one.semantics() != two.semantics()
    assert one.provenance()[0].model == "a" and one.provenance()[0].licence == "unknown"


def test_nothing_to_ask_is_a_drop_without_a_request():
    silent = {"clip_id": "silent", "duration": 2.0, "speech_lang": "en"}
    base = dict.fromkeys(clip_rows(1)[0])
    out, server = written(tables.from_rows([{**base, **silent}], CLIP_SCHEMA))
    assert [drop.reason.split(":")[0] for drop in out.drops] == ["nothing to ask"]
    assert server.counts().requests == 0


def test_five_to_eight_questions_per_clip_are_spread_over_types():
    out, _ = written(clip_table(12, seed=3, language="en"), tasks=["qa"], modes=["implicit"])
    per_clip: dict[str, list[str]] = {}
    for row in rows(out):
        per_clip.setdefault(row["clip_id"], []).append(row["question_type"])
    assert all(len(types) == DEFAULT_COUNTS["qa"] for types in per_clip.values())
    known = {row["clip_id"] for row in rows(out) if row["question_type"] == "emotion"}
    assert len(known) > 6 and all(set(per_clip[clip]) == set(tables.QUESTION_TYPES) for clip in known)
