"""What can be asked of a record, for any writer: the fact that decides, the label, the options, the evidence.

What cannot be asked from the facts at hand is not asked: no emotion, no question about it; no two things heard that
speak for a label, no reasoning for it. A quotation enters an emotion question only where a lexicon can tell whether it
gives the answer away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as attribute
from typing import Any

from datagen import tables
from datagen.quality import facts, lexicon
from datagen.quality.cues import standing, weigh
from datagen.quality.dice import Dice
from datagen.quality.facts import ANSWERABLE, Record
from datagen.quality.grounding import bare, is_quoted_from, runs

#: Levels that a listener can be asked for, in a fixed order. Valence is left to the text models it comes from.
VOICE_LEVELS = ("pitch_level", "pitch_range_level", "loudness_level", "rate_level", "pause_level", "arousal_level",
                "dominance_level")  # fmt: skip
#: The number behind each of them.
NUMBER_OF = {"pitch_level": "f0_median_hz", "pitch_range_level": "f0_range_st", "loudness_level": "level_dbfs",
             "rate_level": "rate_syl_s", "pause_level": "pause_ratio", "arousal_level": "arousal",
             "dominance_level": "dominance"}  # fmt: skip
SOUNDS = ("laughter", "crying", "sigh", "cough", "breath")  #: events that the prompts have words for

_MAX_CUES = 5
_MIN_FOR_PAUSES = 2.0  # seconds; in less there is room for one breath
MAX_IN_QUESTION = 12  # words of a quotation in a question, a response or a caption
_COUNTS = {2: "two", 3: "three", 4: "four"}


@dataclass(frozen=True)
class Ask:
    """One thing to write about: the prompt's branch, its variables, and the evidence, the deciding fact first."""

    ask: str
    field: str
    question_type: str | None
    evidence: tuple[dict[str, Any], ...]
    label: str | None = None
    options: tuple[str, ...] | None = None
    variables: Mapping[str, Any] = attribute(default_factory=dict)


def evidence(record: Record, name: str, quote: str | None = None) -> dict[str, Any]:
    """The evidence item for a field as the record shows it."""
    value = record.get(name)
    if name in facts.NUMBER_FIELDS:
        value = facts.format_number(name, value)
    return {"field": name, "value": None if name == "transcript" else value, "quote": quote}


def plan(record: Record, task: str, dice: Dice) -> Iterator[Ask]:
    """What can be asked of a record for ``task``, best spread first. May be empty, never invents."""
    if task == "classification":
        yield from _labels(record, dice)
    elif task == "qa":
        by_type = {
            "content": _content(record, dice),
            "emotion": _emotion(record),
            "voice": _voice(record, dice),
            "content+emotion": _content_emotion(record, dice),
            "content+voice": _content_voice(record, dice),
        }
        queues = [dice.shuffled(asks) for asks in by_type.values() if asks]
        rounds = max(map(len, queues), default=0)
        yield from (queue[turn] for turn in range(rounds) for queue in queues if turn < len(queue))
    elif task == "reasoning":
        yield from _reasoning(record, dice)
    elif task == "response":
        yield from _response(record, dice)
    elif task == "caption":
        yield from _caption(record, dice)


def _telling(record: Record) -> list[str]:
    """Levels worth speaking of. Pauses are not, in a clip too short to have any, or where hardly any clip has one."""
    number = record.get("pause_ratio")
    no_pause = record.get("pause_level") == "normal" and number is not None and round(number, 2) == 0
    too_short = record.has("duration") and record.get("duration") < _MIN_FOR_PAUSES
    return [
        name for name in VOICE_LEVELS
        if record.has(name) and not (name == "pause_level" and (no_pause or too_short))
    ]  # fmt: skip


# --- What can be asked --------------------------------------------------------------------------------------


def _labels(record: Record, dice: Dice) -> list[Ask]:
    asks = []
    for name, values in (("emotion", ANSWERABLE), ("sentiment", tables.SENTIMENTS)):
        if label := record.get(name):
            options = tuple(dice.shuffled(values))
            asks.append(Ask(name, name, "emotion", (evidence(record, name),), label, options))
    return asks


def _content(record: Record, dice: Dice) -> list[Ask]:
    if (transcript := record.transcript) is None:
        return []
    asks = [_quoting(record, "transcript", _tidy(transcript))]
    spoken = transcript.split()
    count = min(4, max(2, len(spoken) // 3))
    if len(spoken) > 2 * count:
        side = dice.one(("first", "last"))
        quote = bare(" ".join(spoken[:count] if side == "first" else spoken[-count:]))
        if is_quoted_from(quote, transcript):
            asks.append(_quoting(record, "edge", quote, side=side, count=_COUNTS[count]))
    bared = [bare(word) for word in spoken]
    folded = [word.lower() for word in bared]
    pairs = [
        (first, second)
        for first, second in zip(range(len(spoken)), range(1, len(spoken)), strict=False)
        if all(folded.count(folded[index]) == 1 and _is_word(bared[index], transcript) for index in (first, second))
    ]
    if pairs:
        first, second = dice.one(pairs)
        side, known, answer = dice.one((("after", first, second), ("before", second, first)))
        ask = _quoting(record, "beside", bared[answer], side=side, answer_quote=_quoted(bared[answer]))
        asks.append(replace(ask, variables={**ask.variables, "quote": _quoted(bared[known])}))
    timed = [
        (bare(span.text), facts.format_span(span))
        for span in record.words
        if _is_word(bare(span.text), transcript) and facts.format_span(span)
        and len(runs(record, bare(span.text))) == 1 and folded.count(bare(span.text).lower()) == 1
    ]  # fmt: skip
    if timed:
        quote, times = dice.one(timed)
        start, end = str(times).split("-")
        item = {"field": "words", "value": times, "quote": quote}
        variables = {"quote": _quoted(quote), "start": start, "end": end}
        asks.append(Ask("when", "words", "content", (item,), variables=variables))
    return asks


def _emotion(record: Record) -> list[Ask]:
    names = [name for name in ("emotion", "sentiment") if record.has(name)]
    return [Ask(name, name, "emotion", (evidence(record, name),), record.get(name)) for name in names]


def _voice(record: Record, dice: Dice) -> list[Ask]:
    asks = [
        Ask(name, name, "voice", (evidence(record, name),), record.get(name), tuple(dice.shuffled(tables.LEVELS)))
        for name in _telling(record)
    ]
    if sex := record.get("sex"):
        options = tuple(dice.shuffled(("female", "male")))
        asks.append(Ask("sex", "sex", "voice", (evidence(record, "sex"),), sex, options))
    heard = [span for span in record.events if span.text in SOUNDS]
    if len(heard) == 1:  # with several sounds the question would have several answers
        times = facts.format_span(heard[0])
        item = {"field": "events", "value": f"{heard[0].text} {times}" if times else heard[0].text, "quote": None}
        variables = dict(zip(("start", "end"), times.split("-"), strict=True)) if times else {}
        asks.append(Ask("events", "events", "voice", (item,), heard[0].text, variables=variables))
    return asks


def _content_emotion(record: Record, dice: Dice) -> list[Ask]:
    label = record.get("emotion")
    if label is None or record.transcript is None:
        return []
    first = evidence(record, "emotion")
    whole = _tidy(record.transcript)
    asks = [Ask("said_and_emotion", "emotion", "content+emotion", (first, evidence(record, "transcript", whole)),
                label, variables={"quote": _quoted(whole)})]  # fmt: skip
    if quote := _clean_excerpt(record, dice):
        items = (first, evidence(record, "transcript", quote))
        asks.append(Ask("emotion_of_words", "emotion", "content+emotion", items, label,
                        variables={"quote": _quoted(quote)}))  # fmt: skip
    return asks


def _content_voice(record: Record, dice: Dice) -> list[Ask]:
    if record.transcript is None:
        return []
    whole = _tidy(record.transcript)
    return [
        Ask(f"said_and_{name}", name, "content+voice", (evidence(record, name), evidence(record, "transcript", whole)),
            record.get(name), tuple(dice.shuffled(tables.LEVELS)), {"quote": _quoted(whole)})
        for name in _telling(record)
    ]  # fmt: skip


def _reasoning(record: Record, dice: Dice) -> Iterator[Ask]:
    """About the emotion where the cues bear it out, then about the energy: a rationale must not be an excuse.

    More must speak for the label than against it, and for no other emotion more than for this one.
    """
    levels = {name: record.get(name) for name in _telling(record)}
    if (label := record.get("emotion")) and (rank := standing(label, levels)) != "beaten":
        variables = {"relation": record.get("cue_relation"), "alone": rank == "alone"}
        yield from _argued(record, dice, "emotion", label, levels, variables)
    if label := record.get("arousal_level"):
        yield from _argued(record, dice, "arousal_level", label, levels, {"relation": None})


def _argued(
    record: Record, dice: Dice, field: str, label: str, levels: Mapping[str, str], variables: dict[str, Any]
) -> Iterator[Ask]:
    cues, against = (dice.shuffled(found) for found in weigh(field, label, levels))
    if len(cues) < 2 or len(against) >= len(cues):
        return
    cues = cues[: max(_MAX_CUES, len(against) + 1)]
    items = [evidence(record, field)]
    for name in (*cues, *against):
        items.append(evidence(record, name))
        if record.has(NUMBER_OF[name]):
            items.append(evidence(record, NUMBER_OF[name]))
    variables |= {"cues": cues, "against": against}
    question_type = "voice"
    if field == "emotion":
        question_type = "emotion"
        if record.transcript is not None:
            quote = _tidy(record.transcript)
            variables["quote"] = _quoted(quote)
            items.append(evidence(record, "transcript", quote))
            question_type = "content+emotion"
            if variables["relation"] in ("conflict", "matched", "neutral_text"):
                items.append(evidence(record, "cue_relation"))
    options = ANSWERABLE if field == "emotion" else tables.LEVELS
    yield Ask(field, field, question_type, tuple(items), label, tuple(dice.shuffled(options)), variables)


def _response(record: Record, dice: Dice) -> Iterator[Ask]:
    """By emotion; where it is not known by a clearly high or low energy; else there is nothing to go by.

    Every other reply takes up the words: nobody wants each of their sentences repeated to them.
    """
    emotion, level = record.get("emotion"), record.get("arousal_level")
    name = "emotion" if emotion else "arousal_level"
    if not emotion and level not in ("low", "high"):
        return
    items = [evidence(record, name)]
    variables: dict[str, Any] = {"emotion": emotion, "level": level}
    short = record.transcript is not None and len(record.transcript.split()) <= MAX_IN_QUESTION
    if short and dice.below(2):
        quote = _tidy(record.transcript or "")
        variables["quote"] = _quoted(quote)
        items.append(evidence(record, "transcript", quote))
    yield Ask("response", name, None, tuple(items), variables=variables)


def _caption(record: Record, dice: Dice) -> Iterator[Ask]:
    levels = dice.shuffled(_telling(record))[:_MAX_CUES]
    sounds = [span for span in record.events if span.text in SOUNDS][:3]
    if len(levels) + len(sounds) + record.has("emotion") + record.has("sex") < 2:
        return  # a transcript alone is no description
    items: list[dict[str, Any]] = []
    variables: dict[str, Any] = {"cues": levels, "events": []}
    if emotion := record.get("emotion"):
        items.append(evidence(record, "emotion"))
        variables["label"] = emotion
    if record.has("sex"):
        items.append(evidence(record, "sex"))
        variables["sex"] = record.get("sex")
    items += [evidence(record, name) for name in levels]
    for span in sounds:
        times = facts.format_span(span)
        items.append({"field": "events", "value": f"{span.text} {times}" if times else span.text, "quote": None})
        shown = dict(zip(("start", "end"), times.split("-"), strict=True)) if times else {}
        variables["events"].append({"name": span.text, **shown})
    if record.transcript is not None:
        quote = _excerpt(record.transcript, dice)
        variables["quote"] = _quoted(quote)
        items.append(evidence(record, "transcript", quote))
    yield Ask("caption", "caption", None, tuple(items), variables=variables)


# --- Quotations ---------------------------------------------------------------------------------------------


def _quoting(record: Record, ask: str, quote: str, **variables: Any) -> Ask:
    return Ask(ask, "transcript", "content", (evidence(record, "transcript", quote),),
               variables={"quote": _quoted(quote), **variables})  # fmt: skip


def _quoted(text: str) -> str:
    return f'"{text}"'


def _tidy(transcript: str) -> str:
    """Without the full stop at its end: the sentence around the quotation brings its own."""
    return transcript.rstrip(" .,;:…-") or transcript


def _excerpt(transcript: str, dice: Dice) -> str:
    """A stretch of at most ``MAX_IN_QUESTION`` whole words."""
    spoken = transcript.split()
    if len(spoken) <= MAX_IN_QUESTION:
        return _tidy(transcript)
    start = dice.below(len(spoken) - MAX_IN_QUESTION + 1)
    return bare(" ".join(spoken[start : start + MAX_IN_QUESTION]))


def _clean_excerpt(record: Record, dice: Dice) -> str | None:
    """An excerpt fit for an emotion question; None when its language has no lexicon or it names the answer."""
    words = lexicon.load(record.language)
    if words is None or record.transcript is None:
        return None
    quote = _excerpt(record.transcript, dice)
    if words.labels[str(record.get("emotion"))].search(quote) or not is_quoted_from(quote, record.transcript):
        return None
    return quote


def _is_word(word: str, transcript: str) -> bool:
    return len(word) > 1 and word[0].isalpha() and '"' not in word and is_quoted_from(word, transcript)
