"""The record of one clip: the measured or given facts that a writer may use, and nothing else (law 2).

A null column is absent from the record; whoever reads a record cannot mention what was not measured. The sex is the
corpus's, else what ``age_gender`` was sure to hear in most of the speaker's clips; a predicted age is too coarse to be
a fact. A tagger's sounds are facts where it is sure, without their times, which are those of its windows. What a model
of emotions thinks window by window counts where the label is its own, too. Text is neutralised here, once, so that
quotes are exact against what writers and trainees see. Times are seconds relative to the clip.

Facts come in groups that answer each other (``f0_median_hz`` and ``pitch_level``; ``emotion``, ``sentiment`` and
``valence``). In explicit mode the metadata shown to the trainee leaves out every group that decides the answer
(``withheld_groups``), so no question can be answered by copying.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from datagen import tables
from datagen.quality.untrusted import neutralise

#: A longer text cannot have been spoken in a clip (at most 60 s): an ASR loop or a wrong file. It is left out.
MAX_TRANSCRIPT = 2_000
MAX_NAME = 60

#: Clip columns that hold words low|normal|high, with the group each belongs to.
LEVEL_FIELDS: dict[str, str] = {
    "pitch_level": "pitch",
    "pitch_range_level": "pitch_range",
    "loudness_level": "loudness",
    "rate_level": "rate",
    "pause_level": "pauses",
    "arousal_level": "arousal",
    "dominance_level": "dominance",
    "valence_level": "emotion",
}
#: Clip columns that hold numbers, with their group and the decimals they are shown with.
NUMBER_FIELDS: dict[str, tuple[str, int]] = {
    "f0_median_hz": ("pitch", 1),
    "f0_range_st": ("pitch_range", 1),
    "level_dbfs": ("loudness", 1),
    "rate_syl_s": ("rate", 2),
    "pause_ratio": ("pauses", 2),
    "longest_pause_s": ("pauses", 2),
    "arousal": ("arousal", 2),
    "dominance": ("dominance", 2),
    "valence": ("emotion", 2),
    "age_years": ("age", 0),
    "duration": ("duration", 2),
}
#: Every field that evidence may name, with its group. All of them are clip columns.
GROUP: dict[str, str] = {
    "transcript": "text",
    "words": "text",
    "emotion": "emotion",
    "sentiment": "emotion",
    "style": "emotion",  # corpora name emotions as styles ("happy", "sad_whisper"): it may give the answer away
    "sex": "sex",
    "events": "events",
    "cue_relation": "cue_relation",
    **LEVEL_FIELDS,
    **{name: group for name, (group, _) in NUMBER_FIELDS.items()},
}

#: Columns every clip has, and columns that some annotator may have added.
REQUIRED_COLUMNS = ("duration", "sex", "age_years", "speech_lang", "style", "level_dbfs")
OPTIONAL_COLUMNS = (
    "transcript", "words", "text_lang", "emotion", "label_source", "sentiment", "arousal", "dominance", "valence",
    "f0_median_hz", "f0_range_st", "rate_syl_s", "pause_ratio", "longest_pause_s", "events", *LEVEL_FIELDS,
    "cue_relation", "transcript_source", "asr_confidence", "asr_flags", "sex_heard", "emotion_scores",
    "emotion_timeline", "contrast_group_id", "contrast_emotions", "contrast_question",
)  # fmt: skip

#: Least confidence of a recognised transcript that counts as known: at 0.8 the embedded recogniser has 3 % of its words
#: wrong, between 0.6 and 0.7 it is 38 % (docs/transcription.md). Below, the words are left out like anything uncertain.
SURE_CONFIDENCE = 0.8
#: Least score of a tagger's sound that counts as heard: at less it is likelier not there than there.
SURE_EVENT = 0.5
#: Least score of an emotion in a window of the timeline, for the same reason; and least that is shown of the whole
#: clip's.
SURE_WINDOW, SHOWN_SCORE = 0.5, 0.05

#: Emotions that can be an answer. "other" says only what it is not; it is treated as not known.
ANSWERABLE = tuple(name for name in tables.EMOTIONS if name != "other")
SEXES = ("female", "male")
CUE_RELATIONS = ("neutral_text", "matched", "conflict", "nonverbal")


@dataclass(frozen=True, slots=True)
class Span:
    """A word or a non-verbal sound with its times in seconds; None where the aligner gave none."""

    text: str
    start: float | None
    end: float | None


@dataclass(frozen=True, slots=True)
class Contrast:
    """What all clips of a contrast group share: the same words, said with each of these emotions."""

    group: str
    emotions: tuple[str, ...]
    question: str | None = None  #: the stage ``scenario`` wrote it: its right answer differs from voice to voice


@dataclass(frozen=True, slots=True)
class Record:
    """Facts of one clip. ``facts`` maps field -> value (str or float) and holds no nulls."""

    clip_id: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[Span, ...] = ()
    events: tuple[Span, ...] = ()
    language: str | None = None
    label_source: str | None = None
    sex_heard: bool = False  #: the corpus does not give the sex; ``age_gender`` heard it
    scores: tuple[tuple[str, float], ...] = ()  #: (emotion, 0..1), best first
    timeline: tuple[Span, ...] = ()  #: emotions as ``text``, one window after the other
    contrast: Contrast | None = None  #: only where the clip's own emotion is one of several in the group
    scenario: str | None = None  #: the situation of the group; ``write`` alone is shown it here

    def get(self, name: str) -> Any:
        return self.facts.get(name)

    @property
    def transcript(self) -> str | None:
        return self.facts.get("transcript")

    @property
    def sex_column(self) -> str:
        """The clip column that the fact ``sex`` comes from."""
        return "sex_heard" if self.sex_heard else "sex"

    def has(self, name: str) -> bool:
        spans = {"words": self.words, "events": self.events, "emotion_scores": self.scores,
                 "emotion_timeline": self.timeline}  # fmt: skip
        return name in self.facts or bool(spans.get(name))


def from_row(row: Mapping[str, Any]) -> Record:
    """A clip row (plain Python values; absent columns are nulls) -> its record. Pure."""
    facts: dict[str, Any] = {}
    for name in NUMBER_FIELDS:
        if (number := _number(row.get(name))) is not None:
            facts[name] = number
    for name in LEVEL_FIELDS:
        if row.get(name) in tables.LEVELS:
            facts[name] = row[name]
    sex_heard = row.get("sex") is None and row.get("sex_heard") in SEXES
    if (sex := row.get("sex_heard" if sex_heard else "sex")) in SEXES:
        facts["sex"] = sex
    if row.get("emotion") in ANSWERABLE:
        facts["emotion"] = row["emotion"]
        if row.get("sentiment") in tables.SENTIMENTS:
            facts["sentiment"] = row["sentiment"]
    if style := _name(row.get("style")):
        facts["style"] = style
    transcript = neutralise(row.get("transcript") or "") if _sure_of_words(row) else ""
    words: tuple[Span, ...] = ()
    if transcript and len(transcript) <= MAX_TRANSCRIPT and any(char.isalnum() for char in transcript):
        facts["transcript"] = transcript
        words = tuple(_spans(row.get("words"), "word"))
        if row.get("cue_relation") in CUE_RELATIONS:
            facts["cue_relation"] = row["cue_relation"]
    events = tuple(dict.fromkeys(span for span in _events(row.get("events")) if len(span.text) <= MAX_NAME))
    own = row.get("label_source") == "pseudo" and "emotion" in facts
    contrast = _contrast(row, facts.get("emotion"))
    return Record(
        clip_id=row["clip_id"],
        facts=facts,
        words=words,
        events=events,
        language=_name(row.get("text_lang") or row.get("speech_lang")),
        label_source=row.get("label_source") if "emotion" in facts else None,
        sex_heard=sex_heard,
        scores=tuple(_scores(row.get("emotion_scores"))) if own else (),
        timeline=tuple(_windows(row.get("emotion_timeline"))) if own else (),
        contrast=contrast,
        scenario=neutralise(row.get("scenario") or "") or None if contrast else None,
    )


def _sure_of_words(row: Mapping[str, Any]) -> bool:
    """Whether the words may be asked about. The corpus's own, unless its letters were lost; a recogniser's when it is
    confident and nothing looks invented."""
    if "\ufffd" in (row.get("transcript") or ""):  # what decoders put in place of bytes that are no text
        return False
    if row.get("transcript_source") != "pseudo":
        return True
    confidence = row.get("asr_confidence")
    return confidence is not None and confidence >= SURE_CONFIDENCE and not row.get("asr_flags")


def format_number(name: str, number: float) -> str:
    """A number as shown: fixed decimals per field, no negative zero."""
    text = f"{number:.{NUMBER_FIELDS[name][1]}f}"
    return text[1:] if text.startswith("-") and float(text) == 0 else text


def format_time(seconds: float) -> str:
    return f"{max(seconds, 0.0):.2f}"


def format_span(span: Span) -> str | None:
    """``"0.32-0.80"``, or None when a time is missing."""
    if span.start is None or span.end is None:
        return None
    return f"{format_time(span.start)}-{format_time(span.end)}"


def withheld_groups(task: str, evidence_fields: Iterable[str]) -> frozenset[str]:
    """Groups that the explicit metadata of a sample leaves out, because they decide its answer.

    Classification and QA: every group the evidence names. Reasoning: the group of the first item, which is the
    fact that decides the answer; the acoustic evidence stays visible, for it is what is reasoned from.
    Responses and captions ask for no label; they see the whole record.
    """
    fields = list(evidence_fields)
    if task in ("classification", "qa"):
        return frozenset(GROUP[name] for name in fields if name in GROUP)
    if task == "reasoning":
        return frozenset(GROUP[name] for name in fields[:1] if name in GROUP)
    return frozenset()


def context(record: Record, withheld: frozenset[str] = frozenset()) -> str | None:
    """The record as compact JSON for a prompt or for ``metadata_context``; None when nothing is left to show.

    Keys stand in a fixed order and name their units; the duration and the language alone are not worth showing.
    """
    entries = (
        ("transcript", "text", record.transcript),
        ("words", "text", [_timed(span) for span in record.words]),
        ("emotion", "emotion", _whole(record)),
        ("emotion_timeline", "emotion", [_window(span) for span in record.timeline]),
        ("sentiment", "emotion", record.get("sentiment")),
        ("arousal", "arousal", _pair(record, "arousal_level", "arousal")),
        ("dominance", "dominance", _pair(record, "dominance_level", "dominance")),
        ("valence", "emotion", _pair(record, "valence_level", "valence")),
        ("pitch", "pitch", _pair(record, "pitch_level", "f0_median_hz")),
        ("pitch_range", "pitch_range", _pair(record, "pitch_range_level", "f0_range_st")),
        ("loudness", "loudness", _pair(record, "loudness_level", "level_dbfs")),
        ("speaking_rate", "rate", _pair(record, "rate_level", "rate_syl_s")),
        ("pauses", "pauses", _pair(record, "pause_level", "pause_ratio", "longest_pause_s")),
        ("events", "events", [_timed(span) for span in record.events]),
        ("sex", "sex", record.get("sex")),
        ("age_years", "age", _shown(record, "age_years")),
        ("style", "emotion", record.get("style")),
    )
    shown: dict[str, Any] = {key: value for key, group, value in entries if value and group not in withheld}
    if not shown:
        return None
    frame = {"duration_s": _shown(record, "duration"), "language": record.language}
    shown = {**{key: value for key, value in frame.items() if value}, **shown}
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


#: Which clip columns stand behind a key of the context.
CONTEXT_COLUMNS: dict[str, tuple[str, ...]] = {
    "duration_s": ("duration",),
    "language": ("text_lang", "speech_lang"),
    "transcript": ("transcript",),
    "words": ("words",),
    "emotion": ("emotion", "label_source"),
    "emotion_timeline": ("emotion_timeline",),
    "sentiment": ("sentiment",),
    "arousal": ("arousal", "arousal_level"),
    "dominance": ("dominance", "dominance_level"),
    "valence": ("valence", "valence_level"),
    "pitch": ("f0_median_hz", "pitch_level"),
    "pitch_range": ("f0_range_st", "pitch_range_level"),
    "loudness": ("level_dbfs", "loudness_level"),
    "speaking_rate": ("rate_syl_s", "rate_level"),
    "pauses": ("pause_ratio", "longest_pause_s", "pause_level"),
    "events": ("events",),
    "sex": ("sex",),
    "age_years": ("age_years",),
    "style": ("style",),
}


def _number(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _name(value: Any) -> str | None:
    text = neutralise(value or "")
    return text if text and len(text) <= MAX_NAME else None


def _spans(items: Iterable[Mapping[str, Any] | None] | None, key: str) -> Iterable[Span]:
    for item in items or ():
        if item is not None and (text := neutralise(item.get(key) or "")):
            own = item.get("flag") != "interpolated"  # else the times are those of the words beside it
            yield Span(text, *(_number(item.get(time)) if own else None for time in ("start", "end")))


def _events(items: Iterable[Mapping[str, Any]] | None) -> Iterable[Span]:
    """The corpus's sounds (they have no score) as it says; a tagger's where it is sure, each name once.

    A tagger's times are its windows': a laugh of 0.3 s lies somewhere within, and does not last from 0 to 2 s.
    """
    for item in items or ():
        score = _number(item.get("score")) if item else None
        if score is None:
            yield from _spans([item], "event")
        elif score >= SURE_EVENT:
            yield from _spans([{"event": item["event"]}], "event")


def _scores(items: Iterable[Mapping[str, Any] | None] | None) -> list[tuple[str, float]]:
    found = [(item["label"], _number(item.get("score")) or 0.0) for item in items or () if item]
    known = [(label, score) for label, score in found if label in ANSWERABLE and score >= SHOWN_SCORE]
    return sorted(known, key=lambda pair: (-pair[1], pair[0]))


def _windows(items: Iterable[Mapping[str, Any] | None] | None) -> Iterable[Span]:
    for item in items or ():
        if item and item.get("label") in ANSWERABLE and (_number(item.get("score")) or 0.0) >= SURE_WINDOW:
            yield Span(item["label"], _number(item.get("start")), _number(item.get("end")))


def _contrast(row: Mapping[str, Any], emotion: str | None) -> Contrast | None:
    group = row.get("contrast_group_id")
    emotions = tuple(name for name in ANSWERABLE if name in (row.get("contrast_emotions") or ()))
    if not group or emotion not in emotions or len(emotions) < 2:
        return None
    return Contrast(group, emotions, neutralise(row.get("contrast_question") or "") or None)


def _window(span: Span) -> dict[str, Any]:
    times = {"start": span.start, "end": span.end}
    return {**{key: float(format_time(time)) for key, time in times.items() if time is not None}, "label": span.text}


def _timed(span: Span) -> list[Any]:
    if span.start is None or span.end is None:
        return [span.text]
    return [span.text, float(format_time(span.start)), float(format_time(span.end))]


def _whole(record: Record) -> list[dict[str, Any]]:
    if (label := record.get("emotion")) is None:
        return []
    times = {"start": 0.0, "end": _shown(record, "duration")} if record.has("duration") else {}
    source = {"source": record.label_source} if record.label_source else {}
    return [{**times, "label": label, **source}]


def _shown(record: Record, name: str) -> float | int | None:
    if (number := record.get(name)) is None:
        return None
    text = format_number(name, number)
    return float(text) if "." in text else int(text)


def _pair(record: Record, level: str, *numbers: str) -> dict[str, Any]:
    pair: dict[str, Any] = {"level": record.get(level)} if record.has(level) else {}
    for name in numbers:
        if record.has(name):
            pair["value" if name in ("arousal", "dominance", "valence") else name] = _shown(record, name)
    return pair
