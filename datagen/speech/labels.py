"""Which of the things said about a recording hold for a stretch of it: from ``annotations`` to a clip's ``labels``.

The rule, for one field (emotion, speaker, language, ...) and one clip:

- An annotation with times counts by how much of the clip it covers. A value is the clip's label when it covers at least
  ``COVERS`` of the clip and all other values together at most ``DISTURBS``; otherwise the label is null, with the
  shares in ``reason``. Annotations that cover less than ``DISTURBS`` of a clip altogether say nothing about it.
- An annotation without times is about all of the recording. It holds where no timed one of the same field says
  otherwise; two different ones cancel out (null, with the reason).
- Ratings on a scale (arousal, dominance, valence) are averaged, weighted by the time they cover.
- Events may be many: they come as one JSON list with times relative to the clip. Word lists likewise.
- A transcript belongs to a clip when the whole utterance lies in it. When only a part does, or when the text is that of
  a longer recording, the clip gets it under ``CONTEXT`` instead, for a stage that can hear which part is said.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datagen.speech import text

Note = Mapping[str, Any]
Label = dict[str, str | None]

COVERS = 0.5
DISTURBS = 0.2
#: Part of an utterance that may hang over the clip's edge (or into it from outside), as a share of the utterance.
_EDGE = 0.05
#: Field of a text of which the clip holds only a part.
CONTEXT = "transcript_of_recording"
RATINGS = frozenset({"arousal", "dominance", "valence"})
#: No recording lasts longer (a year, in seconds): a number of 400 digits is JSON, but no time.
_LONGEST_S = 3.2e7
#: Words of a longer text handed to each clip, around the place where the clip should be; see ``_neighbourhood``.
_CONTEXT_WORDS = 1500
_CONTEXT_SHARE = 0.1


_SEX = {
    **dict.fromkeys(
        ("f", "female", "fem", "w", "woman", "girl", "weiblich", "femme", "feminine", "femenino", "mujer",
         "female_feminine"), "female",
    ),
    **dict.fromkeys(
        ("m", "male", "masc", "man", "boy", "männlich", "homme", "masculine", "masculino", "hombre", "male_masculine"),
        "male",
    ),
}  # fmt: skip


def sex(said: str | None) -> str | None:
    """``female`` or ``male`` for the usual spellings of several languages, else None.

    >>> sex("F"), sex("männlich"), sex("unknown")
    ('female', 'male', None)
    """
    return _SEX.get((said or "").strip().casefold())


def of_channel(notes: Iterable[Note], channel: int, channels: int) -> list[Note]:
    """Annotations about one channel; all of them when there is only one (a mix)."""
    kept = [n for n in notes if n["value"] is not None and n["field"]]
    return [n for n in kept if channels == 1 or n["channel"] is None or n["channel"] == channel]


def for_clip(notes: Sequence[Note], start: float, end: float, *, whole: bool, place: float = 0.5) -> list[Label]:
    """Labels of the clip from ``start`` to ``end`` (seconds of the recording), ordered by field.

    Args:
        notes: annotations about the clip's channel.
        whole: whether the clip is all of the recording.
        place: where in the recording's speech the clip lies, 0..1; finds its neighbourhood in a long text.
    """
    by_field: dict[str, list[Note]] = {}
    for note in notes:
        by_field.setdefault(note["field"], []).append(note)
    found: list[Label] = []
    for field in sorted(by_field):
        said = by_field[field]
        if field == "words":
            found += _words(said, start, end)
        elif field == "transcript":
            found += _transcript(said, start, end, whole=whole, place=place)
        elif field == "event":
            found += _events(said, start, end)
        elif field in RATINGS:
            found += _rating(field, said, start, end)
        else:
            found += _category(field, said, start, end)
    return found


def _label(field: str, value: str | None, source: str | None, reason: str | None = None) -> Label:
    return {"field": field, "value": value, "source": source, "reason": reason}


def _span(note: Note) -> tuple[float, float] | None:
    """Times of a note, or None when it is about the whole recording."""
    if note["start"] is None:
        return None
    return note["start"], float("inf") if note["end"] is None else note["end"]


def _overlap(note: Note, start: float, end: float) -> float:
    """Seconds of the clip that a timed note covers."""
    span = _span(note)
    return max(min(span[1], end) - max(span[0], start), 0.0) if span else 0.0


def _covered(notes: Iterable[Note], start: float, end: float) -> float:
    """Share of the clip covered by at least one of ``notes``."""
    total, reached = 0.0, start
    for begin, finish in sorted(span for note in notes if (span := _span(note))):
        begin, finish = max(begin, reached), min(finish, end)
        if finish > begin:
            total, reached = total + finish - begin, finish
    return total / (end - start)


def _category(field: str, notes: Sequence[Note], start: float, end: float) -> list[Label]:
    timed: dict[str, list[Note]] = {}
    for note in notes:
        if _overlap(note, start, end) > 0:
            timed.setdefault(note["value"], []).append(note)
    everywhere = {n["value"]: n for n in reversed(notes) if n["start"] is None}
    everyone = [n for group in timed.values() for n in group]
    if timed and (_covered(everyone, start, end) >= DISTURBS or not everywhere):
        shares = {value: _covered(group, start, end) for value, group in timed.items()}
        ranked = sorted(shares, key=lambda value: (-shares[value], value))
        others = _covered([n for value in ranked[1:] for n in timed[value]], start, end)
        if shares[ranked[0]] >= COVERS and others <= DISTURBS:
            return [_label(field, ranked[0], timed[ranked[0]][0]["source"])]
        if _covered(everyone, start, end) < DISTURBS:
            return []
        listed = ", ".join(f"{value} {shares[value]:.0%}" for value in ranked[:3])
        return [_label(field, None, everyone[0]["source"], f"ambiguous: {listed} of the clip")]
    if len(everywhere) > 1:
        listed = " and ".join(sorted(everywhere)[:3])
        return [_label(field, None, notes[0]["source"], f"ambiguous: the recording is said to be {listed}")]
    return [_label(field, value, note["source"]) for value, note in everywhere.items()]


def _rating(field: str, notes: Sequence[Note], start: float, end: float) -> list[Label]:
    timed = [n for n in notes if _overlap(n, start, end) > 0]
    chosen = timed if timed and _covered(timed, start, end) >= COVERS else [n for n in notes if n["start"] is None]
    if not chosen:
        return []
    weights = [_overlap(n, start, end) or 1.0 for n in chosen]
    try:
        values = [float(n["value"]) for n in chosen]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        listed = ", ".join(repr(n["value"]) for n in chosen[:3])
        return [_label(field, None, chosen[0]["source"], f"not a number: {listed}")]
    mean = sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)
    value = chosen[0]["value"] if len(chosen) == 1 else f"{mean:.6g}"
    return [_label(field, value, chosen[0]["source"])]


def _events(notes: Sequence[Note], start: float, end: float) -> list[Label]:
    heard = []
    for note in notes:
        if note["start"] is None:
            heard.append({"event": note["value"], "start": None, "end": None})
        elif _overlap(note, start, end) > 0:
            begin, finish = _span(note) or (start, end)
            times = max(begin, start) - start, min(finish, end) - start
            heard.append({"event": note["value"], "start": round(times[0], 3), "end": round(times[1], 3)})
    heard.sort(key=lambda event: (event["start"] is not None, event["start"] or 0.0, str(event["event"])))
    return [_label("event", json.dumps(heard, ensure_ascii=False), notes[0]["source"])] if heard else []


def _words(notes: Sequence[Note], start: float, end: float) -> list[Label]:
    """Words whose middle lies in the clip, times relative to it."""
    inside = [
        {
            "word": w["word"],
            "start": round(max(w["start"], start) - start, 3),
            "end": round(min(w["end"], end) - start, 3),
        }
        for w in word_list(notes)
        if start <= (w["start"] + w["end"]) / 2 < end
    ]
    return [_label("words", json.dumps(inside, ensure_ascii=False), notes[0]["source"])] if inside else []


def word_list(notes: Iterable[Note]) -> list[dict[str, Any]]:
    """Words with usable times from all ``words`` annotations, in order; whatever else stands there is left out."""
    found = []
    for note in notes:
        if note["field"] != "words":
            continue
        try:
            listed = json.loads(note["value"])
        except (ValueError, RecursionError):
            continue
        for word in listed if isinstance(listed, list) else []:
            if not isinstance(word, dict):
                continue
            spelt, begin, finish = word.get("word"), word.get("start"), word.get("end")
            if not (isinstance(spelt, str) and isinstance(begin, int | float) and isinstance(finish, int | float)):
                continue
            if 0 <= begin < finish <= _LONGEST_S:
                found.append({"word": spelt, "start": float(begin), "end": float(finish)})
    return sorted(found, key=lambda word: (word["start"], word["end"]))


def _transcript(notes: Sequence[Note], start: float, end: float, *, whole: bool, place: float) -> list[Label]:
    timed = []
    for note in notes:
        span = _span(note)
        if span and _overlap(note, start, end) > _EDGE * (min(span[1], end + 1e9) - span[0]):
            timed.append((span, note))
    if timed:
        timed.sort(key=lambda pair: (pair[0], pair[1]["value"]))
        joined = " ".join(dict.fromkeys(note["value"] for _, note in timed))
        contained = all(_overlap(n, start, end) >= (1 - 2 * _EDGE) * (s[1] - s[0]) for s, n in timed)
        source = timed[0][1]["source"]
        if not contained:
            return [_label(CONTEXT, _neighbourhood(joined, place), source)]
        share = _covered([n for _, n in timed], start, end)
        if share < COVERS:
            return [_label("transcript", None, source, f"ambiguous: the text covers only {share:.0%} of the clip")]
        return [_label("transcript", joined, source)]
    texts = {n["value"]: n for n in reversed(notes) if n["start"] is None}
    if len({text.normalise(value) for value in texts}) > 1:
        return [_label("transcript", None, notes[0]["source"], f"ambiguous: {len(texts)} texts for one recording")]
    for value, note in texts.items():
        if whole:
            return [_label("transcript", value, note["source"])]
        return [_label(CONTEXT, _neighbourhood(value, place), note["source"])]
    return []


def _neighbourhood(whole: str, place: float) -> str:
    """The part of a long text in which the clip must lie, so that a book is not copied to each of its clips.

    Readers keep their pace: over a long recording the place in the text follows the place in the speech to within a
    few per cent, and announcements before the text shift it by less than a minute.
    """
    parts = whole.split()
    half = max(_CONTEXT_WORDS, int(_CONTEXT_SHARE * len(parts))) // 2
    centre = round(place * len(parts))
    return " ".join(parts[max(centre - half, 0) : centre + half])
