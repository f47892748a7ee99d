"""Single checks, where the mutations do not reach: form, language, options, grounding of numbers and quotations."""

from __future__ import annotations

import pytest

from datagen.llm import prompts
from datagen.quality import checks, facts, grounding, leak, lexicon, prose
from datagen.quality.claims import extract, judge
from datagen.quality.content import expected
from datagen.quality.facts import Record, Span
from datagen.stages.write import DEFAULT_COUNTS
from datagen.tables import MODES, TASKS
from datagen.testing.records import clip_rows
from datagen.writing import template

EN = lexicon.load("en")


@pytest.fixture(scope="module")
def pair():
    row = next(row for row in clip_rows(30, seed=3, language="en") if row["emotion"] == "happy")
    record = facts.from_row(row)
    return record, template.write(record, prompts.load(prompts.folder("template")), DEFAULT_COUNTS, MODES, 0)[0]


def errors(sample, record, **options):
    return {finding.error_class for finding in checks.check(sample, record, **options)}


def test_a_language_without_a_lexicon_fails_it_is_never_zero(pair):
    record, rows = pair
    assert all(errors(row, record, language="fr") == {"UncheckedLanguage"} for row in rows)
    assert all(errors(row, record, language="de") == {"UncheckedLanguage"} for row in rows)  # labels only, no claims


def test_an_emotion_question_that_quotes_an_unchecked_language_fails(pair):
    record, rows = pair
    row = next(row for row in rows if row["evidence"][0]["field"] == "emotion" and '"' in row["question"])
    foreign = Record(record.clip_id, record.facts, record.words, record.events, "xx", record.label_source)
    assert "UncheckedLanguage" in errors(row, foreign)
    assert "UncheckedLanguage" not in errors(row, record)


@pytest.mark.parametrize(
    "change",
    [
        {"answer": ""},
        {"evidence": []},
        {"question": None},
        {"task": "poem"},
        {"question_type": "colour"},
        {"evidence": [{"field": "sex", "value": "male"}]},
    ],
)
def test_the_wrong_shape_goes_no_further(pair, change):
    record, rows = pair
    assert errors({**rows[0], **change}, record) == {"SchemaMismatch"}


@pytest.mark.parametrize("change", [{"sample_hash": "0" * 32}, {"index": 7}, {"clip_id": "another"}])
def test_bookkeeping_is_checked(pair, change):
    record, rows = pair
    assert errors({**rows[0], **change}, record) == {"WrongIdentity"}


def test_used_columns_must_cover_what_the_text_rests_on(pair):
    record, rows = pair
    for row in rows:
        for column in row["used_columns"]:
            if column in {item["field"] for item in row["evidence"]}:
                assert "WrongColumns" in errors(
                    {**row, "used_columns": sorted({*row["used_columns"]} - {column})}, record
                )
    assert "WrongColumns" in errors({**rows[0], "used_columns": [*rows[0]["used_columns"], "audio"]}, record)


def test_every_check_says_for_which_tasks_it_runs():
    for task in TASKS:
        run, skipped = checks.applicable(task)
        assert set(run) | set(skipped) == {*checks.CHECKS, "duplicate"} and not set(run) & set(skipped)


def test_the_same_question_twice_in_one_mode_is_a_duplicate():
    rows = [("c", "implicit", "qa", "Is it high, or low?"), ("c", "explicit", "qa", "Is it high, or low?"),
            ("c", "implicit", "qa", "is it LOW or high"), ("d", "implicit", "qa", "Is it high, or low?"),
            ("c", "implicit", "caption", "Describe it."), ("c", "implicit", "response", "Describe it."),
            ("c", "implicit", "qa", "Which emotion does the speaker express?"),
            ("c", "implicit", "qa", "What emotion is the speaker expressing?"),
            ("c", "implicit", "qa", "Which sentiment does the speaker express?")]  # fmt: skip
    assert checks.duplicates(rows) == [2, 7]


@pytest.mark.parametrize(
    ("question", "stated"),
    [
        ("Which one: low, normal or high?", True), ("(A) low (B) normal (C) high?", True), ("low/normal/high", True),
        ('Options: "low", "normal", "high".', True), ("- low\n- normal\n- high", True), ("high, normal or low?", False),
        ("low or high?", False), ("lower, normal, high", False),
    ],
)  # fmt: skip
def test_a_list_of_options_is_recognised(question, stated):
    assert leak.without_options(question, ["low", "normal", "high"])[1] is stated


def test_options_are_taken_out_but_hints_beside_them_are_not():
    record = Record("x", {"emotion": "sad"})
    question = "Which emotion? Options: happy, sad."
    assert not list(leak.question(question, ["happy", "sad"], "emotion", record, EN))
    assert list(leak.question(f"{question} It is sorrowful.", ["happy", "sad"], "emotion", record, EN))
    assert list(leak.question(f"{question} It is joyful.", ["happy", "sad"], "emotion", record, EN))


def test_metadata_may_not_name_the_answer_under_any_key():
    record = Record("x", {"emotion": "sad"})
    withheld = frozenset({"emotion"})
    assert list(leak.metadata('{"style":"sad_whisper"}', withheld, record, EN))
    assert list(leak.metadata('{"note":["so","SADLY"]}', withheld, record, EN))
    assert not list(leak.metadata('{"transcript":"so sad"}', withheld, record, EN))
    assert not list(leak.metadata('{"style":"sad"}', frozenset(), record, EN))


@pytest.mark.parametrize(
    ("quote", "fits"),
    [("eleven", True), ("It's eleven", True), ("o'clock", True), ("o'clock.", True), ("leven", False), ("eleve", False),
     ("It's  eleven", False), ("it's", False), ("", False), ("'", False)],
)  # fmt: skip
def test_quotations_are_exact_and_whole_words(quote, fits):
    assert grounding.is_quoted_from(quote, "It's eleven o'clock.") is fits


WORDS = Record("x", {"transcript": "no, no way", "f0_median_hz": 212.44, "pause_ratio": 0.21, "age_years": 36.0},
               (Span("no,", 0.1, 0.3), Span("no", 0.35, 0.6), Span("way", None, None)))  # fmt: skip


@pytest.mark.parametrize(
    ("item", "sound"),
    [
        (("f0_median_hz", "212.4", None), True), (("f0_median_hz", "213", None), True),
        (("f0_median_hz", "230", None), False), (("f0_median_hz", "high", None), False),
        (("f0_median_hz", "212.4", "no"), False), (("words", "0.35-0.60", "no"), True),
        (("words", "0.10-0.30", "no"), True), (("words", "0.35-0.70", "no"), False),
        (("words", "0.35-0.60", "way"), False), (("words", None, "way"), False),
        (("transcript", "0.35-0.60", "no"), True), (("transcript", "0.10-0.60", "no"), False),
        (("transcript", "0.35-0.60", "no way"), False),
        (("transcript", None, "no way"), True), (("transcript", None, "no no"), False),
        (("transcript", "x", "no way"), False), (("sex", "male", None), False), (("colour", "red", None), False),
        (("age_years", "36", None), True), (("age_years", "38", None), False),
    ],
)  # fmt: skip
def test_evidence_is_held_against_the_record(item, sound):
    problems = list(grounding.evidence([dict(zip(("field", "value", "quote"), item, strict=True))], WORDS))
    assert (problems == []) is sound


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("a median of 212.4 Hz", True), ("about 212 Hz", True), ("about 210 Hz", False), ("212.4 semitones", False),
        ("21 percent of it", True), ("21% of it", True), ("a share of 0.21", True), ("a share of 0.31", False),
        ("from 0.35 to 0.60 seconds", True), ("0.35-0.60 s", True), ("at 0.45 seconds", False), ("f0 is fine", True),
        ("36 years old", True), ("a 36-year-old", True), ("two hundred hertz", False), ("item 3", False),
    ],
)  # fmt: skip
def test_numbers_need_evidence_of_their_unit(text, sound):
    known = {"f0_median_hz": "212.4", "pause_ratio": "0.21", "words": "0.35-0.60", "age_years": "36"}
    items = [{"field": name, "value": value, "quote": None} for name, value in known.items()]
    assert (list(grounding.numbers(text, items, EN)) == []) is sound


@pytest.mark.parametrize(
    ("question", "quotes", "answer"),
    [
        ("What are the first two words?", [], "no, no"), ("the last three words", [], "no, no way"),
        ("the first five words", [], ""), ("Which word comes right after _?", ["way"], ""),
        ("Which word comes directly before _?", ["way"], "no"), ("Which word comes right after _?", ["no"], ""),
        ("What is said?", [], "no, no way"), ("What is the third word?", [], "way"),
        ("What is the fifth word?", [], ""), ("Which word follows _?", ["no"], ""),
        ("Which word precedes _?", ["way"], "no"), ("How many words are there?", [], ""),
        ("Why does the speaker refuse?", [], None),
    ],
)  # fmt: skip
def test_questions_about_the_wording_are_worked_out(question, quotes, answer):
    assert expected(question, quotes, "no, no way") == answer


@pytest.mark.parametrize(
    "text",
    [
        "<b>Loud.</b>",
        "```json",
        "{{ x }}",
        "[INST] Go.",
        "Assistant: no.",
        "It is. User: yes.",
        "See https://example.org/x.",
        "See www.example.org.",
    ],
)
def test_markup_is_refused(text):
    assert list(prose.markup(text))
    assert not list(prose.markup('It\'s "fine" - the user said so: 21%, no more; really?'))


def test_a_measurement_in_words_is_refused_and_everyday_seconds_are_not():
    def spelled(text):
        return list(grounding.numbers(text, [], EN))

    assert spelled("A two-second silence follows.") and spelled("There is a pause of three seconds.")
    assert spelled("The speaker is six years old.") and spelled("At two hundred hertz.")
    assert not spelled("One second, please.") and not spelled("It has been ten years now.")


def test_what_stands_beside_the_text_is_part_of_its_hash_and_absent_it_changes_nothing(pair):
    _, rows = pair
    row = {name: value for name, value in rows[0].items() if name not in ("scenario", "rejected_response")}
    assert checks.sample_hash(row) == checks.sample_hash({**row, "scenario": None})
    assert len({checks.sample_hash({**row, "scenario": text}) for text in (None, "One.", "Two.")}) == 3


def test_prose_rules():
    assert not list(prose.truncation("All said.", [], True)) and list(prose.truncation("All sai", [], True))
    assert list(prose.truncation("And so...", [], True)) and list(prose.truncation("So it is _", ["half a"], True))
    assert not list(prose.truncation("So it is _", ["whole."], True)) and list(prose.truncation("All.", [], False))
    assert list(prose.repetition("It is a loud voice. It is a loud voice."))
    assert not list(prose.repetition("It is a loud voice. It is a fast voice."))
    assert list(prose.language("Die Stimme klingt heute sehr ruhig und ganz gelassen.", EN))
    assert not list(prose.language("The voice is calm and the words come one by one.", EN))
    assert list(prose.boilerplate("Well, as an AI language model I like it.", EN))


@pytest.mark.parametrize(
    "text",
    [
        "The speaker sounds f\u0435arful here.",  # a Cyrillic e
        "It is \uff4c\uff4f\uff55\uff44 and clear.",  # fullwidth
        "That is great! \U0001f600",
        "Wie klingt diese Stimme hier?",
    ],
)
def test_a_few_foreign_words_and_one_foreign_letter_are_refused(text):
    assert list(prose.language(text, EN))


@pytest.mark.parametrize("text", ["Fearful.", "A caf\u00e9 na\u00efve \u2013 it is 21 \u00b0.", "Sure, happy Monday!"])
def test_short_english_is_english(text):
    assert not list(prose.language(text, EN))


@pytest.mark.parametrize(
    "style",
    [
        "{}, and furious",
        "{}, horrified",
        "{}, not patient",
        "{}, with some c\u043elour",
        "{}" + " and slow" * 12,
    ],
)
def test_a_style_names_manners_only(pair, style):
    record, rows = pair
    row = next(row for row in rows if row["task"] == "response")
    assert not errors(row, record)
    changed = {**row, "response_style": style.format(row["response_style"])}
    assert errors(changed, record) & {"WrongStyle", "WrongLanguage"}
    assert "WrongStyle" not in errors({**row, "response_style": "lively, warm, delighted"}, record)


@pytest.mark.parametrize(
    ("label", "synonyms"),
    [
        ("angry", "aggrieved riled peevish testy belligerent bad-tempered sullen"),
        ("disgusted", "squeamish aghast scornful queasy"),
        ("fearful", "spooked unnerved skittish intimidated paranoid"),
        ("happy", "giddy chuffed contented jovial light-hearted perky relieved hopeful"),
        ("neutral", "stoic unmoved unbothered expressionless"),
        ("sad", "morose doleful inconsolable teary rueful devastated lonely"),
        ("surprised", "gobsmacked thunderstruck flummoxed perplexed baffled"),
    ],
)
def test_less_usual_words_for_a_label_give_it_away_and_claim_it(label, synonyms):
    record = Record("x", {"emotion": label})
    other = Record("x", {"emotion": "neutral" if label != "neutral" else "angry"})
    for word in synonyms.split():
        assert list(leak.question(f"Why does the speaker sound so {word} here?", None, "emotion", record, EN)), word
        claims = extract(f"The speaker sounds {word}.", EN)
        assert claims and {judge(claim, record) for claim in claims} == {None}, word
        assert {judge(claim, other) for claim in claims} == {"contradicted"}, word
