"""transcribe on the repository's clips: gold text with times, parts of long texts, and honest nulls."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datagen import tables
from datagen.speech import text
from datagen.speech.audio import decode_flac, encode_flac
from datagen.speech.labels import CONTEXT
from datagen.stages.transcribe import Transcribe
from datagen.stages.transcribe_config import TranscribeConfig
from datagen.testing.speech import synth

CLIPS = Path(__file__).resolve().parents[2] / "examples" / "clips"
ROWS = {
    row["file_name"]: row
    for row in map(json.loads, (CLIPS / "metadata.jsonl").read_text(encoding="utf-8").splitlines())
}
JFK, SONNET = "speeches/jfk_inaugural_1961.flac", "librivox/en_shakespeare_sonnet_1.flac"
BATCH = pa.schema(
    [("clip_id", pa.string()), *(tables.CLIPS.field(n) for n in ("labels", "speech_lang", "duration", "audio"))]
)


def label(field, value, reason=None):
    return {"field": field, "value": value, "source": "corpus", "reason": reason}


def clip(audio, *labels, lang="en"):
    if isinstance(audio, str):
        audio = (CLIPS / audio).read_bytes()
    return {"audio": audio if isinstance(audio, bytes) else encode_flac(audio), "labels": labels, "speech_lang": lang}


def piece(name, start, end):
    return decode_flac((CLIPS / name).read_bytes())[int(start * 16000) : int(end * 16000)]


_STAGES = {}


def transcribe(*clips, **config):
    key = json.dumps(config, sort_keys=True)
    if key not in _STAGES:
        _STAGES[key] = Transcribe(TranscribeConfig(**config))
        _STAGES[key].setup()
    output = _STAGES[key].process(pa.Table.from_pylist(list(clips), schema=BATCH))
    assert output.columns.schema.equals(tables.TRANSCRIBE)
    assert output.columns.num_rows == len(clips)
    return output.columns.to_pylist()


def test_a_reference_text_stays_as_written_and_gets_word_times():
    said = ROWS[JFK]["transcript"]
    (row,) = transcribe(clip(JFK, label("transcript", said)), backend="reference")
    assert row["transcript"] == said and row["text_lang"] == "en"
    assert (row["asr_confidence"], row["transcript_source"], row["transcript_reason"]) == (1.0, "gold", None)
    assert [word["word"] for word in row["words"]] == text.words(said)
    assert row["words"][14]["start"] == pytest.approx(8.19, abs=0.1)


def test_a_text_that_does_not_fit_the_sound_keeps_its_words_but_gets_no_times():
    (row,) = transcribe(clip(JFK, label("transcript", "Seven people bought a new house by the river yesterday.")))
    assert row["transcript"].startswith("Seven people") and row["words"] is None
    assert row["transcript_reason"].startswith("no word times: the text")


def test_a_language_without_an_aligner_has_text_but_no_times():
    german = ROWS["thorsten/neutral_02.flac"]["transcript"]
    rows = transcribe(
        clip("thorsten/neutral_02.flac", label("transcript", german), lang="de"),
        clip("thorsten/neutral_02.flac", label("transcript", german), lang=None),
    )
    assert [row["transcript"] for row in rows] == [german, german]
    assert [row["words"] for row in rows] == [None, None]
    assert rows[0]["transcript_reason"] == "no word times: no aligner for 'de'"
    assert rows[1]["transcript_reason"] == "no word times: no aligner for an unknown language"


def test_the_corpus_s_own_word_times_are_taken_in_any_language():
    given = [{"word": "Eure", "start": 0.1, "end": 0.3}, {"word": "Tröte", "start": 0.3, "end": 0.8}]
    rows = transcribe(
        clip(
            "thorsten/neutral_02.flac", label("words", json.dumps(given)), label("transcript", "Eure Tröte."), lang="de"
        ),
        clip("thorsten/neutral_02.flac", label("words", json.dumps(given)), lang="de"),
    )
    assert [row["transcript"] for row in rows] == ["Eure Tröte.", "Eure Tröte"]
    assert all(row["words"] == [{**word, "score": None, "flag": None} for word in given] for row in rows)


def test_a_piece_of_a_long_reading_gets_the_lines_that_are_heard_in_it():
    whole = ROWS[SONNET]["transcript"]
    (row,) = transcribe(clip(piece(SONNET, 44.4, 52.4), label(CONTEXT, whole)))
    assert (
        row["transcript"] == "Pity the world, or else this glutton be, To eat the world's due, by the grave and thee."
    )
    assert row["transcript_source"] == "gold" and 0.8 < row["asr_confidence"] <= 1
    assert [word["word"] for word in row["words"]] == text.words(row["transcript"])


def test_the_whole_reading_is_told_out_among_its_pieces_in_order_without_loss():
    from datagen.stages.segment import Segment, SegmentConfig

    stage = Segment(SegmentConfig())
    stage.setup()
    whole = ROWS[SONNET]["transcript"]
    notes = [{"channel": None, "start": None, "end": None, "field": field, "value": value, "source": "corpus"}
             for field, value in (("transcript", whole), ("language", "en"))]  # fmt: skip
    made = stage.process(
        pa.table(
            {
                **{
                    name: pa.array(["r"], pa.string())
                    for name in ("recording_id", "corpus", "licence", "official_split")
                },
                "duration": [53.0],
                "audio": pa.array([(CLIPS / SONNET).read_bytes()], pa.large_binary()),
                "annotations": pa.array([notes], pa.list_(tables.ANNOTATION)),
            }
        )
    ).created["clips"]
    rows = transcribe(*made.select(["labels", "speech_lang", "duration", "audio"]).to_pylist())
    assert len(rows) >= 3
    told = [word for row in rows for word in text.words(row["transcript"])]
    assert told == text.words(whole)


def test_speech_that_is_not_in_the_text_gets_none_of_it():
    preamble = clip(JFK, label(CONTEXT, ROWS[SONNET]["transcript"]))
    (row,) = transcribe(preamble)
    assert row["transcript"] is None and row["words"] is None and row["asr_confidence"] is None
    assert row["transcript_reason"].startswith("the text of the longer recording is not heard here")


def test_one_word_does_not_show_where_in_a_text_a_clip_stands():
    (row,) = transcribe(clip(piece(JFK, 3.1, 4.5), label(CONTEXT, "Do not ask.")))
    assert row["transcript"] is None


def test_a_piece_of_a_long_reading_in_another_language_has_no_text_and_says_why():
    spanish = clip(piece("librivox/es_capitan_veneno.flac", 7, 12), label(CONTEXT, "Al Señor"), lang="es")
    (row,) = transcribe(spanish)
    assert row["transcript"] is None
    assert row["transcript_reason"] == "the text is that of a longer recording, and there is no aligner for 'es'"


def test_recognised_english_comes_with_times_and_a_confidence():
    (row,) = transcribe(clip("librispeech/3080-5032-0001.flac"), min_confidence=0.5)
    assert row["transcript"].startswith("i knew you could not choose but like her")
    assert row["transcript_source"] == "pseudo" and 0.5 <= row["asr_confidence"] < 1
    assert " ".join(word["word"] for word in row["words"]) == row["transcript"]
    assert all(0 <= a["start"] < a["end"] <= 7.85 and 0 <= a["score"] <= 1 for a in row["words"])


def test_what_is_not_recognised_with_confidence_is_null_with_the_reason():
    samples, _ = synth("Nobody told me that the train was late.", seed=1)
    (row,) = transcribe(clip(samples))
    assert row["transcript"] is None and row["words"] is None and row["transcript_source"] is None
    assert row["asr_confidence"] < 0.6 and "not recognised with confidence" in row["transcript_reason"]


def test_german_speech_of_unknown_language_does_not_become_english_nonsense():
    names = [name for name in ROWS if name.startswith("thorsten/")]
    rows = transcribe(*[clip(name, lang=None) for name in names])
    assert len(rows) == 12
    assert [row["transcript"] for row in rows] == [None] * 12
    assert all("English" in row["transcript_reason"] or "too few" in row["transcript_reason"] for row in rows)


def test_a_language_the_recogniser_does_not_know_is_null_with_the_reason():
    (row,) = transcribe(clip("thorsten/neutral_02.flac", lang="de"))
    assert row == {**dict.fromkeys(tables.TRANSCRIBE.names), "transcript_reason": "no recogniser for 'de'"}


def test_the_backend_decides_whose_text_it_is():
    tone = clip(np.sin(np.arange(16000) * 0.1).astype(np.float32) / 4, label("transcript", "Ask not."), lang="de")
    bare = clip(JFK, label("transcript", None, "ambiguous: 2 texts for one recording"))
    (row,) = transcribe(tone, backend="pocketsphinx")
    assert row["transcript"] is None
    (row,) = transcribe(bare, backend="reference")
    assert row["transcript_reason"] == "ambiguous: 2 texts for one recording"
    (row,) = transcribe(clip(JFK), backend="reference")
    assert row["transcript_reason"] == "the corpus gives no text"


def test_a_beep_is_no_word():
    (row,) = transcribe(clip(np.sin(np.arange(48000) * 0.1).astype(np.float32) / 4))
    assert row["transcript"] is None


def test_tags_are_no_words_and_an_empty_text_is_no_text():
    rows = transcribe(
        clip(JFK, label("transcript", "[cough] " + ROWS[JFK]["transcript"] + " <noise>")),
        clip(JFK, label("transcript", " ... ")),
        backend="reference",
    )
    assert len(rows[0]["words"]) == 22 and rows[0]["words"][0]["word"] == "and"
    assert rows[1]["transcript"] is None


def test_a_row_does_not_depend_on_its_company():
    one = clip(JFK, label("transcript", ROWS[JFK]["transcript"]))
    two = clip(piece(SONNET, 44.4, 52.4), label(CONTEXT, ROWS[SONNET]["transcript"]))
    three = clip("librispeech/2414-128291-0000.flac")
    forward, backward = transcribe(one, two, three), transcribe(three, two, one)
    assert forward == backward[::-1]


def test_damaged_audio_is_a_reject_and_the_others_are_kept():
    stage = Transcribe(TranscribeConfig())
    stage.setup()
    rows = [clip(b"x"), clip("thorsten/neutral_02.flac", label("transcript", "Eure Tröte nervt."), lang="de")]
    output = stage.process(pa.Table.from_pylist(rows, schema=BATCH))
    assert [(reject.row, reject.error_class) for reject in output.rejects] == [(0, "Undecodable")]
    assert output.columns["transcript"].to_pylist() == [None, "Eure Tröte nervt."]
