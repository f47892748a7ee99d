from __future__ import annotations

import itertools

import pytest

from datagen.errors import UsageError
from datagen.llm import instructions, prompts
from datagen.quality import lexicon
from datagen.quality.claims import extract, judge, split_quotes
from datagen.quality.dice import Dice
from datagen.quality.facts import ANSWERABLE, GROUP, Contrast, Record
from datagen.tables import LEVELS, TASKS
from datagen.writing import contrast
from datagen.writing.asks import VOICE_LEVELS

HEAD = "---\ntask: caption\nschema: caption.json\nreads: [sex]\n---\n"


def folder(tmp_path, text=HEAD + "{% macro answer() %}{{ sex }}{% endmacro %}"):
    (tmp_path / "caption.j2").write_text(text, encoding="utf-8")
    return tmp_path


def test_shipped_prompts_cover_every_task():
    assert set(prompts.load(prompts.folder("template"))) == set(TASKS)


def test_a_fact_that_is_not_there_is_an_error(tmp_path):
    import jinja2

    prompt = prompts.load(folder(tmp_path))["caption"]
    assert prompt.render(["answer", "question"], {"sex": "female"}) == {"answer": "female", "question": None}
    with pytest.raises(jinja2.UndefinedError):
        prompt.render(["answer"], {})


def test_templates_cannot_reach_python(tmp_path):
    import jinja2

    hostile = HEAD + "{% macro answer() %}{{ ''.__class__.__mro__[1].__subclasses__() }}{% endmacro %}"
    with pytest.raises(jinja2.exceptions.SecurityError):
        prompts.load(folder(tmp_path, hostile))["caption"].render(["answer"], {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("---\ntask: caption\n", "no closing"),
        (HEAD.replace("caption\ns", "captions\ns"), "must be one of classification"),
        (HEAD.replace("caption.json", "nowhere.json"), "must be a file in schemas"),
        (HEAD.replace("[sex]", "[gender]"), "must list clip columns"),
        (HEAD.replace("reads", "tone: warm\nreads"), "unknown key 'tone'"),
        (HEAD.replace("reads", "uses: [voice.j2]\nreads"), "names voice.j2"),
        (HEAD + "{% macro answer( %}", "line"),
        ("---\n: :\n- x\n---\n", "not YAML"),
    ],
)
def test_bad_prompts_are_refused_with_their_name(tmp_path, text, says):
    with pytest.raises(UsageError, match=says) as caught:
        prompts.load(folder(tmp_path, text))
    assert "caption.j2" in str(caught.value)


def test_a_missing_folder_says_what_to_do(tmp_path):
    with pytest.raises(UsageError, match="copy"):
        prompts.folder("template", str(tmp_path / "mine"))
    with pytest.raises(UsageError, match=r"no \.j2"):
        prompts.load(tmp_path)


def test_the_hash_follows_the_text_and_what_it_uses(tmp_path):
    first = prompts.load(folder(tmp_path))["caption"].hash
    assert prompts.load(folder(tmp_path, HEAD + "{% macro answer() %}a{% endmacro %}"))["caption"].hash != first
    used = HEAD.replace("reads", "uses: [part.j2]\nreads")
    (tmp_path / "part.j2").write_text("{% macro x() %}1{% endmacro %}")
    second = prompts.load(folder(tmp_path, used))["caption"].hash
    (tmp_path / "part.j2").write_text("{% macro x() %}2{% endmacro %}")
    assert prompts.load(folder(tmp_path, used))["caption"].hash != second


# --- Every phrase the shipped prompts can choose is one the checks can read ------------------------------------


def chooser(place):
    def pick(*phrases, **values):
        text = phrases[place % len(phrases)]
        for name, value in values.items():
            text = text.replace("{" + name + "}", str(value))
        return text

    return pick


NUMBERS = {"f0_median_hz": "212.4", "f0_range_st": "6.3", "level_dbfs": "-23.4", "rate_syl_s": "4.21",
           "pause_ratio": "0.21", "arousal": "0.81", "dominance": "0.44"}  # fmt: skip


@pytest.mark.parametrize(("field", "level"), list(itertools.product(VOICE_LEVELS, LEVELS)))
def test_every_way_to_state_a_level_is_read_as_exactly_that(field, level):
    words = lexicon.load("en")
    prompt = prompts.load(prompts.folder("template"))["reasoning"]
    for place, numbers in itertools.product(range(4), ({}, NUMBERS)):
        variables = {"pick": chooser(place), "numbers": numbers, "levels": {field: level}}
        text = prompt.template.make_module(variables).sentence(field, "Besides, ")
        read = [dict(claim.alternatives) for claim in extract(str(text), words) if not claim.negated]
        assert read == [{field: frozenset([level])}], text
        other = Record("x", {field: next(each for each in LEVELS if each != level)})
        assert judge(extract(str(text), words)[0], other) == "contradicted"


@pytest.mark.parametrize("emotion", ANSWERABLE)
def test_every_response_presupposes_the_emotion_it_answers(emotion):
    words = lexicon.load("en")
    prompt = prompts.load(prompts.folder("template"))["response"]
    for place in range(3):
        variables = {"pick": chooser(place), "emotion": emotion, "level": None}
        text = prompt.render(["response"], variables)["response"]
        cues = [claim for claim in extract(split_quotes(text)[0], words, cues=True) if claim.kind == "cue"]
        assert cues and all(emotion in claim.alternatives["emotion"] for claim in cues), text


def test_dice_are_fair_and_repeatable():
    throws = [Dice("a", 1).below(6) for _ in range(3)]
    assert len(set(throws)) == 1
    dice = Dice("fair")
    counts = [0] * 6
    for _ in range(6_000):
        counts[dice.below(6)] += 1
    assert min(counts) > 850 and max(counts) < 1_150
    assert sorted(Dice("s").shuffled(range(9))) == list(range(9)) != Dice("s").shuffled(range(9))


# --- Prompts for a language model -----------------------------------------------------------------------------

WRITE = instructions.load(instructions.folder("write"))


def test_every_task_has_a_prompt_for_a_language_model_and_a_withheld_label_its_own():
    assert set(WRITE) == {*TASKS, "reasoning_withheld"}
    assert len({id(prompt.schema) for prompt in WRITE.values()}) == len(WRITE)  # a grammar is compiled for each


def objects(schema):
    if schema.get("type") == "object":
        yield schema
    for part in (*schema.get("properties", {}).values(), schema.get("items", {})):
        if part:
            yield from objects(part)


def texts(schema):
    for each in objects(schema):
        yield from (part for part in each["properties"].values() if "string" in part.get("type", ()))


@pytest.mark.parametrize("name", sorted(WRITE))
def test_answers_are_bounded_and_say_their_evidence_before_their_conclusion(name):
    schema = WRITE[name].schema
    for each in objects(schema):
        assert each["additionalProperties"] is False and each["required"] == list(each["properties"])
    assert all(part["maxLength"] <= 2_000 for part in texts(schema))
    assert all(part.get("maxItems", 99) < 99 for part in schema["properties"].values() if part["type"] == "array")
    order = list(schema["properties"])
    assert order.index("evidence") == 0 if "evidence" in order else order == ["question"]
    if "answer" in order:
        assert order[-1] == "answer"


def test_evidence_may_name_what_a_prompt_explains():
    named = set(WRITE["qa"].schema["properties"]["evidence"]["items"]["properties"]["field"]["enum"])
    assert named == set(GROUP) - {"style", "duration"}
    explained = {name for name in GROUP if f"\n- {name}: " in WRITE["qa"].instruction}
    assert named <= explained


ASKING = "---\nschema: write/caption.json\n---\n"
GOOD = "{% macro instruction() %}Write.{% endmacro %}{% macro question() %}{{ facts | data }}{% endmacro %}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ASKING + GOOD.replace("Write.", "{{ fact }}"), "instruction cannot be written: 'fact' is undefined"),
        (ASKING + GOOD.replace("Write.", "{{ ''|data(1) }}"), "instruction cannot be written"),
        (ASKING + GOOD.replace("question", "qestion"), "no macro 'question'"),
        (ASKING.replace("write/caption.json", "[x") + GOOD, "not YAML"),
    ],
)
def test_a_mistake_in_a_prompt_of_ones_own_is_one_line_before_anything_runs(tmp_path, text, says):
    with pytest.raises(UsageError, match=says) as caught:
        instructions.load(folder(tmp_path, text))
    assert "caption.j2" in str(caught.value) and "\n" not in str(caught.value)


def test_a_question_that_wants_what_there_is_not_names_its_prompt(tmp_path):
    prompt = instructions.load(folder(tmp_path, ASKING + GOOD))["caption"]
    assert prompt.question(facts={"sex": "female"}) == '{"sex":"female"}'
    with pytest.raises(UsageError, match=r"prompt 'caption'.*'facts' is undefined"):
        prompt.question()


def test_an_instruction_holds_no_data_and_a_label_has_no_place_in_that_of_a_withheld_one():
    for prompt in WRITE.values():
        assert "{{" not in prompt.instruction and "\n\n\n" not in prompt.instruction
        assert prompt.instruction == str(prompt.template.module.instruction()).strip()
    assert "label given" not in WRITE["reasoning_withheld"].instruction


def test_styles_that_a_prompt_offers_fit():
    words = lexicon.load("en")
    for mood, styles in WRITE["response"].template.module.STYLES.items():
        assert set(WRITE["response"].template.module.STYLES) == {*ANSWERABLE, "none"}
        for style in styles:
            fits = [moods for pattern, moods in words.styles if pattern.search(style)]
            assert fits and all(mood in moods for moods in fits), (mood, style)


@pytest.mark.parametrize("emotion", ANSWERABLE)
def test_a_reply_to_another_voice_has_manners_to_choose_from(emotion):
    known = Record("x", {"emotion": emotion}, contrast=Contrast("group", ANSWERABLE))
    others = contrast.other_voices(known, 0)
    assert len(others) >= 3 and emotion not in others
    for other in others:
        assert contrast.manners(WRITE["response"].template.module.STYLES[other], emotion), other


@pytest.mark.parametrize("name", ["classification", "qa"])
def test_questions_for_a_whole_group_give_nothing_away(name):
    from datagen.quality import leak

    words = lexicon.load("en")
    for emotion in ANSWERABLE:
        record = Record("x", {"emotion": emotion}, language="en")
        for question in WRITE[name].template.module.QUESTIONS:
            assert question.endswith("?") and not list(leak.question(question, None, "emotion", record, words))
