"""Evidence as a model writes it, brought into the form in which the record has it. Nothing is made true by it.

``212 Hz`` for a pitch of 212.4 becomes ``212.4``; ``3.1`` stays what it is, and the checks refuse it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from datagen.quality.facts import NUMBER_FIELDS, Record, format_number, format_span, format_time
from datagen.quality.grounding import bare, runs, same_number
from datagen.quality.untrusted import neutralise

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_TIMES = re.compile(r"(\d+(?:\.\d+)?)\s*(?:-|–|to)\s*(\d+(?:\.\d+)?)")
#: Seconds by which a time may be off. Half of that is the step of the usual aligners.
NEAR_S = 0.04

Item = dict[str, Any]


def canonical(items: Iterable[Mapping[str, Any]], record: Record) -> list[Item]:
    """Each item in the record's form where it says the same, else as it was said; none twice."""
    found: list[Item] = []
    for given in items:
        item = _canonical(str(given["field"]), _text(given["value"]), _text(given["quote"]), record)
        if item not in found:
            found.append(item)
    return found


def _canonical(name: str, value: str | None, quote: str | None, record: Record) -> Item:
    if name in ("transcript", "words"):
        return _words(name, value, quote, record)
    if name == "events":
        quote = None if quote == value else quote
        return {"field": name, "value": _event(value or "", record) or value, "quote": quote}
    if quote is not None and (quote == value or not record.has(name)):
        quote = None  # a value said twice
    if name in NUMBER_FIELDS:
        match = _NUMBER.search(value or "")
        if match and record.has(name) and same_number(match[0], float(record.get(name)), name):
            value = format_number(name, record.get(name))
    elif value is not None and isinstance(record.get(name), str) and value.lower() == record.get(name).lower():
        value = record.get(name)
    return {"field": name, "value": value, "quote": quote}


def _words(name: str, value: str | None, quote: str | None, record: Record) -> Item:
    """Words with their times are ``words``, words alone ``transcript``, whichever of the two they were called."""
    times = _TIMES.search(value or "")
    if quote is None and value is not None and not times:
        value, quote = None, value
    if quote is not None:
        quote = _as_spoken(quote, record.transcript or "")
    if times is None or quote is None:
        return {"field": "transcript" if quote is not None else name, "value": None, "quote": quote}
    start, end = float(times[1]), float(times[2])
    for a, b in runs(record, quote):
        if abs(a - start) <= NEAR_S and abs(b - end) <= NEAR_S:
            return {"field": "words", "value": f"{format_time(a)}-{format_time(b)}", "quote": quote}
    return {"field": "words", "value": value, "quote": quote}


def _as_spoken(quote: str, transcript: str) -> str:
    """The quotation as the transcript spells it, if it differs in case or in what stands around it only."""
    for text in (quote, bare(quote)):
        place = transcript.lower().find(text.lower())
        if text and place >= 0 and len(transcript.lower()) == len(transcript):
            return transcript[place : place + len(text)]
    return quote


def _event(value: str, record: Record) -> str | None:
    name = value.split(" ")[0].lower()
    times = _TIMES.search(value)
    for span in record.events:
        if span.text.lower() != name:
            continue
        if times is None:
            return span.text
        ends = (span.start, span.end)
        if all(a is not None and abs(a - float(b)) <= NEAR_S for a, b in zip(ends, times.groups(), strict=True)):
            return f"{span.text} {format_span(span)}"
    return None


def _text(value: Any) -> str | None:
    """One line without markup; null where there is nothing. Quotation marks around a whole quotation go."""
    text = neutralise(str(value)).strip("' ") if value is not None else ""
    return text or None
