"""A finished run in memory, for tests of everything that reads one (exports, cards, trainers' views).

    run = memory_run(clips=24, shards=3)
    run.read("samples", 0, ["sample_id", "transcript"])

Clips are real FLAC: a few harmonics at the pitch the row claims. Same arguments, same bytes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen import tables

Row = dict[str, Any]


def _joined(*schemas: pa.Schema) -> pa.Schema:
    return pa.schema([column for schema in schemas for column in schema])


#: Every column that clips and samples can have once all stages ran.
CLIPS = _joined(
    tables.CLIPS,
    tables.TRANSCRIBE,
    tables.EMOTION,
    tables.AGE_GENDER,
    tables.AFFECT,
    tables.PROSODY,
    tables.EVENTS,
    tables.DESCRIBE,
    tables.AGREEMENT,
    tables.EMBED,
    tables.TEXT_EMOTION,
    tables.NEIGHBOURS,
    tables.CONDENSE,
    tables.SPLIT,
    tables.SCENARIO,
)
SAMPLES = _joined(tables.SAMPLES, tables.VERIFY, tables.BLIND, tables.JUDGE, tables.ROUTE, tables.QUALITY)


@dataclass
class MemoryRun:
    """Rows by shard, and whatever else an export asks a run for. Implements ``export.run.RunReader``."""

    clips: list[pa.Table]
    samples: list[pa.Table]
    provenance: Sequence[Mapping[str, Any]] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    counts: Sequence[Mapping[str, Any]] = ()
    artifacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rejected: pa.Table = field(default_factory=tables.REJECTS.empty_table)
    datagen_version: str = "0.0.test"

    @property
    def shards(self) -> list[int]:
        return list(range(len(self.clips)))

    def read(self, table: str, shard: int, columns: list[str]) -> pa.Table:
        own = {"clips": self.clips, "samples": self.samples}[table][shard]
        parent = self.clips[shard]
        found: dict[str, pa.ChunkedArray] = {}
        for name in columns:
            if name in own.column_names:
                found[name] = own.column(name)
            elif table == "samples" and name in parent.column_names:
                rows = pc.index_in(own.column("clip_id"), parent.column("clip_id").combine_chunks())
                found[name] = parent.column(name).take(rows)
            else:
                kind = (CLIPS if name in CLIPS.names else SAMPLES).field(name).type
                found[name] = pa.chunked_array([pa.nulls(own.num_rows, kind)])
        return pa.table(found)

    def rejects(self) -> pa.Table:
        return self.rejected


def flac(seconds: float, f0_hz: float, *, seed: int = 0) -> bytes:
    """A voice-like tone with a little noise as FLAC, 16 kHz, mono, 16 bit."""
    import soundfile

    times = np.arange(int(seconds * tables.SAMPLE_RATE)) / tables.SAMPLE_RATE
    tone = sum(np.sin(2 * np.pi * f0_hz * number * times) / number for number in range(1, 6))
    noise = np.random.default_rng(seed).normal(0, 0.01, len(times))
    sink = io.BytesIO()
    soundfile.write(sink, 0.2 * tone + noise, tables.SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return sink.getvalue()


_SENTENCES = ("Der Lappen liegt auf dem Eisschrank.", "The harbour was quiet.", "Kids are talking by the door.")
_EMOTIONS = ("angry", "happy", "neutral", "sad")


def clip_row(number: int, **changes: Any) -> Row:
    """One clip as it is after all stages; ``changes`` overrides single columns."""
    emotion = _EMOTIONS[number % len(_EMOTIONS)]
    female = number % 2 == 0
    f0 = (195.0 if female else 110.0) + 5 * (number % 7)
    seconds = 0.2 + 0.05 * (number % 5)
    arousal = {"angry": 0.9, "happy": 0.75, "neutral": 0.4, "sad": 0.2}[emotion]
    recording = hashlib.blake2b(str(number).encode(), digest_size=8).hexdigest()
    corpus = "harbour" if number % 3 else "lighthouse"
    text = _SENTENCES[number % len(_SENTENCES)]
    row: Row = {
        "clip_id": f"{recording}-0-0-{int(seconds * 1000)}",
        "recording_id": recording,
        "corpus": corpus,
        "channel": 0,
        "start": 0.0,
        "end": seconds,
        "duration": seconds,
        "speaker": f"{corpus}/speaker{number % 6}",
        "sex": "female" if female else "male",
        "age_years": 30.0 + number % 20,
        "speech_lang": "de" if number % len(_SENTENCES) == 0 else "en",
        "licence": "CC-BY-4.0" if corpus == "harbour" else "CC0-1.0",
        "level_dbfs": -26.0 - number % 5,
        "snr_db": 30.0,
        "clipping_ratio": 0.0,
        "audio_hash": hashlib.blake2b(f"audio{number}".encode(), digest_size=16).hexdigest(),
        "audio": flac(seconds, f0, seed=number),
        "transcript": text,
        "words": [
            {"word": word, "start": round(0.02 * i, 6), "end": round(0.02 * (i + 1), 6), "score": 0.9}
            for i, word in enumerate(text.split())
        ],
        "text_lang": "de" if number % len(_SENTENCES) == 0 else "en",
        "asr_confidence": 1.0,
        "transcript_source": "gold",
        "emotion": emotion,
        "emotion_raw": emotion.upper(),
        "label_source": "gold",
        "sentiment": {"happy": "positive", "neutral": "neutral"}.get(emotion, "negative"),
        "arousal": arousal + 0.01 * (number % 5),
        "arousal_pct": arousal,
        "arousal_level": "high" if arousal > 0.6 else "low" if arousal < 0.3 else "normal",
        "f0_median_hz": f0,
        "f0_range_st": 6.0 + number % 3,
        "f0_pct": round((number % 10) / 10, 6),
        "pitch_level": "normal",
        "rate_syl_s": 4.5,
        "rate_source": "words",
        "contrast_group_id": f"group{number % len(_SENTENCES)}",
        "contrast_emotions": sorted(_EMOTIONS),
        "stratum": f"{emotion}|{corpus}",
        "sampling_weight": 1.0,
        "split": ("train", "train", "train", "validation", "test")[number % 6 % 5],
    }  # fmt: skip
    return row | changes


def sample_rows(clip: Mapping[str, Any]) -> list[Row]:
    """A few items about one clip: a label task in both modes, a question, a rationale and a response."""
    emotion, words = clip["emotion"], clip["transcript"]
    evidence = [{"field": "arousal_level", "value": clip["arousal_level"], "quote": None}]
    common = {"writer": "template", "prompt_hash": "0" * 8, "evidence": evidence, "checks_run": ["schema", "leak"]}
    context = f"Voice: {clip['sex']}, arousal {clip['arousal_level']}."
    used = ["emotion", "arousal_level"]
    ask = "Which emotion do you hear?"
    items: list[Row] = [
        {"task": "classification", "mode": mode, "question": ask, "options": list(_EMOTIONS), "answer": emotion,
         "answer_label": emotion, "used_columns": ["emotion"], "route": "rl",
         "metadata_context": context if mode == "explicit" else None}
        for mode in tables.MODES
    ] + [
        {"task": "qa", "mode": "implicit", "question_type": "content", "question": "What is said?", "answer": words,
         "used_columns": ["transcript"], "route": "sft"},
        {"task": "reasoning", "mode": "explicit", "question": "How does the speaker feel, and how can you tell?",
         "reasoning": f"The arousal is {clip['arousal_level']}. The words are: {words}", "answer": emotion,
         "answer_label": emotion, "used_columns": [*used, "transcript"], "metadata_context": context, "route": "sft"},
        {"task": "response", "mode": "implicit", "question": "Answer the speaker.", "response": "I am listening.",
         "response_style": "calm", "used_columns": used, "route": "sft"},
        {"task": "caption", "mode": "implicit", "question": "Describe the voice.", "answer": f"A {clip['sex']} voice.",
         "used_columns": ["sex"], "route": "drop", "route_reason": "too thin"},
    ]  # fmt: skip
    rows = []
    for item in items:
        slot = f"{clip['clip_id']}-{item['task']}-{item['mode']}-0"
        text = "|".join(str(item.get(key)) for key in ("question", "answer", "response"))
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        rows.append(common | item | {"sample_id": slot, "sample_hash": digest, "clip_id": clip["clip_id"], "index": 0})
    return rows


def memory_run(
    clips: int = 24,
    shards: int = 3,
    *,
    changes: Mapping[int, Mapping[str, Any]] | None = None,
    split: bool = True,
    **run: Any,
) -> MemoryRun:
    """A run over generated clips, dealt out to shards in an order that is not that of their ids.

    Args:
        changes: number of a clip -> columns to override.
        split: without it, no split stage ran and the column is null throughout.
        run: other fields of ``MemoryRun``.
    """
    rows = [clip_row(number, **(changes or {}).get(number, {})) for number in range(clips)]
    if not split:
        rows = [row | {"split": None} for row in rows]
    dealt = [rows[number::shards] for number in range(shards)]
    defaults: dict[str, Any] = {
        "provenance": [
            {"stage": "emotion", "model": "corpus labels", "revision": "", "licence": "corpus", "columns": ["emotion"],
             "note": "gold", "config_hash": "aa"},
            {"stage": "write", "model": "template writer", "revision": "1", "licence": "Apache-2.0",
             "columns": ["question", "answer", "reasoning", "response"], "note": "", "config_hash": "bb"},
        ],
        "recipe": {"name": "test", "input": "/home/somebody/speech", "stages": {"write": {"backend": "template"}}},
        "counts": [
            {"name": "ingest", "rows_in": clips + 1, "ok": clips, "rejected": 1, "dropped": 0, "seconds": 0.5},
            {"name": "write", "rows_in": clips, "ok": clips, "rejected": 0, "dropped": 0, "seconds": 0.1},
        ],
        "rejected": tables.from_rows(
            [{"id": "r0", "table": "recordings", "stage": "ingest", "error_class": "DecodeError",
              "message": "not audio", "attempt": 1}],
            tables.REJECTS,
        ),
    }  # fmt: skip
    return MemoryRun(
        clips=[tables.from_rows(part, CLIPS) for part in dealt],
        samples=[tables.from_rows([item for clip in part for item in sample_rows(clip)], SAMPLES) for part in dealt],
        **(defaults | run),
    )
