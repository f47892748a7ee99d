"""Evidence, quotations and numbers, held against the record of the clip. Pure functions; each yields messages.

An evidence item is ``{field, value, quote}``:

* a level, a label, ``sex``: ``value`` is the word in the record, ``quote`` is null;
* a number: ``value`` is the number as shown (``212.4``), ``quote`` is null;
* ``transcript``: ``quote`` is an exact stretch of the transcript, ``value`` null or its times, ``"start-end"``;
* ``words``: ``value`` is ``"start-end"`` in seconds, ``quote`` the words spoken then;
* ``events``: ``value`` is the sound's name and its times, ``"laughter 0.50-1.20"``, or the name alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from datagen.quality.facts import GROUP, NUMBER_FIELDS, Record, Span, format_span, format_time
from datagen.quality.lexicon import QUOTE_MARK, Lexicon

Evidence = Sequence[Mapping[str, Any]]

_NUMBER = re.compile(r"(?<![\w.])(?:(?<!\d)-)?\d+(?:\.\d+)?")
_BETWEEN = re.compile(r"\s*(?:-|–|to|and|until)\s*", re.IGNORECASE)
_SPAN = re.compile(r"(\d+\.\d+)-(\d+\.\d+)$")
_TIMES = ("words", "events", "duration", "longest_pause_s")
_UNITLESS = ("arousal", "dominance", "valence", "pause_ratio")
_RELATIVE = 0.01  # a number may be rounded further than shown, by at most one part in a hundred


def is_quoted_from(quote: str, text: str) -> bool:
    """Whether ``quote`` is an exact stretch of ``text``, beginning and ending at the edge of a word."""
    if not quote.strip() or not any(char.isalnum() for char in quote):
        return False
    start = text.find(quote)
    while start >= 0:
        end = start + len(quote)
        before = text[start - 1] if start else " "
        after = text[end] if end < len(text) else " "
        if not (before.isalnum() and quote[0].isalnum()) and not (after.isalnum() and quote[-1].isalnum()):
            return True
        start = text.find(quote, start + 1)
    return False


def runs(record: Record, quote: str) -> list[tuple[float, float]]:
    """Start and end of every place where the timed words read exactly ``quote``."""
    texts = [span.text for span in record.words]
    size = len(quote.split())
    found = []
    for index in range(len(texts) - size + 1):
        start, end = record.words[index].start, record.words[index + size - 1].end
        if start is not None and end is not None and bare(" ".join(texts[index : index + size])) == bare(quote):
            found.append((start, end))
    return found


def _spans(record: Record, quote: str) -> set[str]:
    return {f"{format_time(start)}-{format_time(end)}" for start, end in runs(record, quote)}


def bare(text: str) -> str:
    """Without the punctuation around it; case and everything inside stay."""
    return re.sub(r"^\W+|\W+$", "", text)


def evidence(items: Evidence, record: Record) -> Iterable[str]:
    """What is wrong with the evidence."""
    for item in items:
        name, value, quote = item["field"], item["value"], item["quote"]
        if name not in GROUP:
            yield f"evidence names the unknown field '{name}'"
        elif not record.has(name):
            yield f"evidence names '{name}', which was not measured for this clip"
        elif name == "transcript":
            if not quote or not is_quoted_from(quote, record.transcript or ""):
                yield f"evidence quotes '{quote}', which the transcript does not hold"
            elif value is not None and value not in _spans(record, quote):
                yield f"evidence puts '{quote}' at {value}, where the timed words do not have it"
        elif name == "words":
            if not quote or value not in _spans(record, quote):
                yield f"evidence puts '{quote}' at {value}, where the timed words do not have it"
            elif not is_quoted_from(quote, record.transcript or ""):
                yield f"evidence quotes '{quote}', which the transcript does not hold"
        elif name == "events":
            if quote is not None or value not in {text for span in record.events for text in _event_texts(span)}:
                yield f"evidence names the event '{value}', which was not measured"
        elif quote is not None:
            yield f"evidence for '{name}' holds a quotation; only words can be quoted"
        elif name in NUMBER_FIELDS:
            number = _parse(value)
            if number is None or not same_number(str(value), float(record.get(name)), name):
                yield f"evidence says {name} is {value}; it is {float(record.get(name)):.6g}"
        elif value != record.get(name):
            yield f"evidence says {name} is {value}; it is {record.get(name)}"


def quotations(quotes: Iterable[str], record: Record) -> Iterable[str]:
    """Quotations in a free text that the clip does not hold."""
    for quote in quotes:
        if not is_quoted_from(quote, record.transcript or ""):
            yield f"the text quotes '{quote[:80]}', which the transcript does not hold"


def numbers(masked: str, items: Evidence, lexicon: Lexicon) -> Iterable[str]:
    """Numbers in a free text that no evidence item bears out, unit included. Evidence itself is checked elsewhere."""
    known = list(_known(items))
    found = list(_NUMBER.finditer(masked))
    for index, match in enumerate(found):
        unit = _unit(masked, match.end(), lexicon)
        following = found[index + 1] if index + 1 < len(found) else None
        if unit is None and following and _BETWEEN.fullmatch(masked[match.end() : following.start()]):
            unit = _unit(masked, following.end(), lexicon)  # "0.32 to 0.80 seconds"
        fields, scale = unit or (_UNITLESS, 1.0)
        shown = match[0]
        if not any(name in fields and same_number(shown, value * scale, name) for name, value in known):
            yield f"the number {shown} in the text stands in no evidence item"
    for word in _spelled_out(masked, lexicon):
        yield f"the measurement '{word}' is spelled out in words and cannot be checked"


def same_number(shown: str, true: float, name: str) -> bool:
    """Whether ``shown`` is ``true`` rounded to its decimals or, times apart, within one part in a hundred of it."""
    decimals = len(shown.partition(".")[2])
    relative = 0.0 if name in _TIMES else _RELATIVE
    return abs(float(shown) - true) <= max(0.5 * 10.0**-decimals, relative * abs(true)) + 1e-9


def _known(items: Evidence) -> Iterable[tuple[str, float]]:
    """(field, number) of everything in the evidence that is a number or a pair of times."""
    for item in items:
        name, value = item["field"], item["value"]
        if not isinstance(value, str):
            continue
        if name in ("words", "transcript", "events"):
            if times := _SPAN.search(value):
                kind = "events" if name == "events" else "words"
                yield kind, float(times[1])
                yield kind, float(times[2])
        elif name in NUMBER_FIELDS and (number := _parse(value)) is not None:
            yield name, number


def _event_texts(span: Span) -> Iterable[str]:
    yield span.text
    if times := format_span(span):
        yield f"{span.text} {times}"


def _parse(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _unit(masked: str, end: int, lexicon: Lexicon) -> tuple[tuple[str, ...], float] | None:
    rest = masked[end : end + 30].lower()
    stripped = rest.lstrip(" -\u00a0\u202f")
    for word, fields, scale in lexicon.units:
        if stripped.startswith(word) and not stripped[len(word) : len(word) + 1].isalpha():
            return fields, scale
    return None


def _spelled_out(masked: str, lexicon: Lexicon) -> Iterable[str]:
    """Number words directly before a unit of measurement. Everyday talk is full of years and seconds: seconds count
    beside a word for silence only, years only where they are an age."""
    tokens = re.findall(r"[\w%']+", masked.lower().replace(QUOTE_MARK, " "))
    units = {word.split()[0]: fields for word, fields, _ in lexicon.units}
    for index, (before, unit) in enumerate(pairwise(tokens)):
        if before not in lexicon.number_words or unit not in units:
            continue
        around = tokens[max(0, index - 4) : index + 6]
        if "age_years" in units[unit]:
            if not any(word in lexicon.aged for word in tokens[index + 2 : index + 3]):
                continue
        elif "words" in units[unit] and not any(word in lexicon.beside for word in around):
            continue
        yield f"{before} {unit}"
