"""transcribe with whisperx on tiny models: whose text it is, what is known of it, what becomes of bad clips.

The random Whisper is held to 4 tokens per second, else it writes to its limit now and then.
"""

import json
import math
import shutil
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datagen import tables
from datagen.errors import EnvironmentFault, UsageError
from datagen.models import aligner, batching, manifest
from datagen.models.whisperx import Heard, Recognised
from datagen.quality.facts import SURE_CONFIDENCE
from datagen.speech import text
from datagen.speech.audio import decode_flac, encode_flac
from datagen.speech.labels import CONTEXT
from datagen.stages import transcribe_models, transcribe_whisperx
from datagen.stages.transcribe import Transcribe
from datagen.stages.transcribe_config import TranscribeConfig
from datagen.testing.batches import batch_for
from datagen.testing.speech import SENTENCES, synth

CLIPS = Path(__file__).resolve().parents[2] / "examples" / "clips"
JFK = "speeches/jfk_inaugural_1961.flac"
ASR_ONLY = ("text_lang_score", "asr_avg_logprob", "asr_no_speech", "asr_compression", "asr_flags")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    from datagen.testing.checkpoints import ctc, whisper

    root = tmp_path_factory.mktemp("models")
    found = {"whisper": whisper.build(root / "whisper")}
    return found | {lang: ctc.build(root / lang, lang) for lang in ("en", "de")}


@pytest.fixture(scope="module")
def run(folders, tmp_path_factory):
    """(clips, settings) -> the stage's output; a stage is set up once for each settings."""
    made = {}
    patch = pytest.MonkeyPatch()
    patch.setenv(manifest.CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))

    def run(*clips, **settings):
        key = json.dumps(settings, sort_keys=True)
        if key not in made:
            made[key] = stage_of(folders, **settings)
            made[key].setup()
        output = made[key].process(batch_for(made[key], clips))
        assert output.columns.schema.equals(tables.TRANSCRIBE) and len(output.columns) == len(clips)
        return output

    yield run
    patch.undo()


@pytest.fixture
def cache_with_french(monkeypatch, tmp_path):
    """An empty cache; the call puts an aligner into it as a pull would."""
    monkeypatch.setenv(manifest.CACHE_VARIABLE, str(tmp_path))

    def pull():
        entry = manifest.known("align-fr")
        home = manifest.home(entry)
        home.mkdir(parents=True)
        files = {file.path: manifest.Fetched(4, file.sha256 or "0" * 64) for file in entry.files}
        for name in files:
            (home / name).write_bytes(b"bits")
        manifest.Record(entry.name, entry.origin, entry.revision, "1", files).write(home / manifest.RECORD)

    return pull


def stage_of(folders, **settings):
    aligners = {lang: str(folders[lang]) for lang in ("en", "de")}
    usual = {"model": str(folders["whisper"]), "device": "cpu", "aligners": aligners, "max_tokens_per_second": 4.0,
             "beam_size": 2}  # fmt: skip
    return Transcribe(TranscribeConfig(**{"backend": "whisperx"} | usual | settings))


def rows_of(output):
    return output.columns.to_pylist()


def label(field, value, reason=None):
    return {"field": field, "value": value, "source": "corpus", "reason": reason}


def clip(audio, *labels, lang=None):
    if isinstance(audio, str):
        audio = (CLIPS / audio).read_bytes()
    data = audio if isinstance(audio, bytes) else encode_flac(audio)
    try:
        duration = len(decode_flac(data)) / 16_000
    except Exception:
        duration = 1.0
    return {"audio": data, "labels": list(labels), "speech_lang": lang, "duration": duration}


def alike(rows, others):
    """The same but for the noise of floating point."""
    for row, other in zip(rows, others, strict=True):
        numbers = {name for name, value in row.items() if isinstance(value, float)}
        assert {name: row[name] for name in row.keys() - numbers - {"words"}} == {
            name: other[name] for name in row.keys() - numbers - {"words"}
        }
        assert [row[name] for name in sorted(numbers)] == pytest.approx(
            [other[name] for name in sorted(numbers)], abs=1e-5
        )
        for word, same in zip(row["words"] or [], other["words"] or [], strict=True):
            assert word | {"score": None} == same | {"score": None}
            assert word["score"] == pytest.approx(same["score"], abs=1e-3)


def said(number, lang="en"):
    samples, _ = synth(SENTENCES[number % 8], f0_hz=100 + 20 * number, seed=number, noise_db=-60)
    return clip(samples, lang=lang)


# --- Recognised ---------------------------------------------------------------------------------------------


def test_recognised_text_comes_with_words_times_and_what_whisper_thinks_of_it(run):
    rows = rows_of(run(*[said(number) for number in range(4)], vad="none"))
    for number, row in enumerate(rows):
        seconds = said(number)["duration"]
        assert row["transcript_source"] == "pseudo" and row["text_lang"] == "en" and row["text_lang_score"] is None
        assert [word["word"] for word in row["words"]] == row["transcript"].split()
        timed = [word for word in row["words"] if word["start"] is not None]
        assert timed and all(0 <= word["start"] <= word["end"] <= seconds + 0.05 for word in timed)
        assert row["asr_avg_logprob"] < 0 and 0 <= row["asr_no_speech"] <= 1 and row["asr_compression"] > 0
        expected = math.exp(row["asr_avg_logprob"])
        assert row["asr_confidence"] == pytest.approx(min(expected, 0.5) if row["asr_flags"] else expected, abs=1e-6)
    assert len({row["transcript"] for row in rows}) == 4
    assert all(round(row[name], 6) == row[name] for row in rows for name in ("asr_confidence", "asr_avg_logprob"))


def test_the_language_is_told_where_the_corpus_does_not_say_it(run):
    rows = rows_of(run(said(1, None), said(2, None), said(3, "de"), vad="none"))
    assert all(0 < row["text_lang_score"] < 1 for row in rows[:2])
    assert (rows[2]["text_lang"], rows[2]["text_lang_score"]) == ("de", None)
    listed = rows_of(run(said(1, None), said(2, None), vad="none", languages=["en", "de"]))
    assert {row["text_lang"] for row in listed} <= {"en", "de"} and all(row["text_lang_score"] for row in listed)
    (only,) = rows_of(run(said(1, None), vad="none", languages=["de"]))
    assert (only["text_lang"], only["text_lang_score"]) == ("de", None)


def test_a_clip_in_a_language_nobody_asked_for_is_null_with_the_reason(run):
    (row,) = rows_of(run(said(1, "fr"), vad="none", languages=["en", "de"]))
    assert row == dict.fromkeys(row) | {"transcript_reason": "the corpus says it is in 'fr', not in en, de"}
    (row,) = rows_of(run(said(1, "tlh"), vad="none"))
    assert "does not know the language 'tlh'" in row["transcript_reason"] and row["transcript"] is None


def test_nobody_speaks_no_transcript(run):
    rows = rows_of(run(clip(np.zeros(16_000, np.float32)), said(1)))
    assert rows[0]["transcript"] is None and rows[0]["transcript_reason"] == "nobody speaks, says pyannote"
    assert [rows[0][name] for name in ASR_ONLY] == [None] * 5
    assert rows[1]["transcript"]


def test_a_row_does_not_depend_on_its_company(run):
    clips = [said(number, None if number % 2 else "en") for number in range(6)]
    clips[3]["labels"] = [label("transcript", "Nobody told me.")]
    clips[3]["speech_lang"] = "de"
    together = rows_of(run(*clips, vad="none"))
    alike(together[::-1], rows_of(run(*clips[::-1], vad="none")))
    alike(together, [rows_of(run(one, vad="none"))[0] for one in clips])
    alike(together, rows_of(run(*clips, vad="none", batch_seconds=60.0)))
    with pytest.raises(AssertionError):
        alike(together, together[::-1])
    assert len({row["transcript"] for row in together}) == 6


def test_words_of_a_language_without_an_aligner_here_are_null_and_the_mend_is_named(run):
    rows = rows_of(run(said(1, "fr"), said(2, "sw"), vad="none"))
    assert all(row["transcript"] and row["words"] is None for row in rows)
    assert rows[0]["transcript_reason"].endswith("model align-fr is not here: datagen models pull align-fr")
    assert rows[1]["transcript_reason"] == "no word times: no aligner for 'sw'"


def test_words_are_those_of_aligning_each_stretch_alone(run, folders):
    jfk = decode_flac((CLIPS / JFK).read_bytes())
    (row,) = rows_of(run(clip(jfk, lang="en")))
    stage = stage_of(folders)
    stage.setup()
    (heard,) = stage.transcriber.whisper([jfk], ["en"])
    alone = aligner.Aligner(manifest.find(str(folders["en"]), "align-en"), "en")
    expected = []
    for one in heard.heard:
        part = jfk[int(one.start * 16_000) : int(one.end * 16_000)]
        expected += alone.align([aligner.Segment(part, one.text, one.start, one.end)])[0] or []
    assert [(word["word"], word["start"], word["end"]) for word in row["words"]] == [
        (word["word"], word["start"], word["end"]) for word in expected
    ]
    assert len(row["words"]) >= 2


# --- The corpus's own text ----------------------------------------------------------------------------------


def test_the_corpus_s_text_is_kept_and_aligned_and_whisper_is_not_even_loaded(folders):
    stage = stage_of(folders)
    stage.setup()
    one = said(0) | {"labels": [label("transcript", SENTENCES[0])]}
    (row,) = stage.process(batch_for(stage, [one])).columns.to_pylist()
    assert (row["transcript"], row["transcript_source"], row["asr_confidence"]) == (SENTENCES[0], "gold", 1.0)
    assert [row[name] for name in ASR_ONLY] == [None] * 5 and row["text_lang"] == "en"
    assert [word["word"] for word in row["words"]] == SENTENCES[0].split()
    assert all(word["start"] is not None for word in row["words"])
    assert "whisper" not in vars(stage.transcriber)


def test_unless_the_recipe_prefers_whisper(run):
    one = said(0) | {"labels": [label("transcript", SENTENCES[0])]}
    (row,) = rows_of(run(one, vad="none", prefer_reference=False))
    assert row["transcript_source"] == "pseudo" and row["transcript"] != SENTENCES[0]


def test_the_corpus_s_own_word_times_are_left_alone(run):
    words = [{"word": "Nobody", "start": 0.1, "end": 0.5}, {"word": "told", "start": 0.5, "end": 0.8}]
    (row,) = rows_of(run(said(1) | {"labels": [label("words", json.dumps(words))]}))
    assert row["transcript"] == "Nobody told"
    assert row["words"] == [{**word, "score": None, "flag": None} for word in words]


def test_alignment_can_be_left_out(run):
    gold = said(0) | {"labels": [label("transcript", SENTENCES[0])]}
    rows = rows_of(run(gold, said(1), vad="none", align=False))
    assert [row["words"] for row in rows] == [None, None]
    assert rows[0]["transcript_reason"] == "no word times: alignment is off"


def test_a_clip_of_a_longer_text_gets_the_part_that_whisper_heard(run):
    """Whisper here is random; what it writes stands in for what is said."""
    (row,) = rows_of(run(said(2), vad="none"))
    whole = f"Once upon a time there was an end. {row['transcript'].upper()}, and they lived happily."
    (part,) = rows_of(run(said(2) | {"labels": [label(CONTEXT, whole)]}, vad="none", min_words=1))
    assert text.words(part["transcript"]) == text.words(row["transcript"]) and part["transcript_source"] == "gold"
    assert part["asr_confidence"] == 1.0 and part["asr_flags"] is None
    (other,) = rows_of(
        run(said(2) | {"labels": [label(CONTEXT, "Quite another text that has nothing of it.")]}, vad="none")
    )
    assert other["transcript"] == row["transcript"] and other["transcript_source"] == "pseudo"


# --- Invented texts -----------------------------------------------------------------------------------------


def heard(said, avg_logprob=-0.1, no_speech=0.01, speech_s=3.0):
    return Recognised("en", None, [Heard(said, 0.0, 3.0, speech_s, avg_logprob, no_speech, 10)])


def test_a_flagged_text_is_kept_but_never_sure(folders):
    judge = transcribe_whisperx.WhisperXTranscriber(stage_of(folders).config)._recognised
    sure = judge(heard(" Nobody told me that."), None)
    assert sure["asr_flags"] == [] and sure["asr_confidence"] == pytest.approx(math.exp(-0.1), abs=1e-6)
    assert sure["asr_confidence"] > SURE_CONFIDENCE
    doubtful = judge(heard(" Thanks for watching!"), None)
    assert doubtful["transcript"] == "Thanks for watching!" and doubtful["asr_flags"] == ["boilerplate"]
    assert doubtful["asr_confidence"] == 0.5 < SURE_CONFIDENCE
    assert judge(heard(" Nobody told me."), None)["asr_flags"] == []
    assert judge(heard(" Nobody.", no_speech=0.9, avg_logprob=-1.2), None)["asr_flags"] == ["logprob", "no_speech"]
    cut, strange = judge(heard(" Nobody t\ufffd"), None), judge(heard(" Никто."), None)
    assert (cut["asr_flags"], strange["asr_flags"]) == (["undecodable"], ["script"])
    assert max(cut["asr_confidence"], strange["asr_confidence"]) < SURE_CONFIDENCE
    assert judge(heard(" ..."), None)["transcript_reason"] == "Whisper heard no words"


def test_confidence_weighs_stretches_by_their_tokens():
    one, two = Heard("a", 0, 1, 1, -0.1, 0.2, 29), Heard("b", 1, 2, 1, -1.0, 0.1, 9)
    assert transcribe_whisperx._doubts([one, two]) == (pytest.approx((-0.1 * 30 - 1.0 * 10) / 40), 0.2)


def test_clips_with_invented_texts_leave_only_if_told_to(run):
    """Every text of a random Whisper is flagged under a limit that none can meet."""
    limits = {"avg_logprob": 0.0}
    kept = run(said(1), said(2), vad="none", limits=limits)
    assert kept.drops == [] and all("logprob" in row["asr_flags"] for row in rows_of(kept))
    gold = said(3) | {"labels": [label("transcript", SENTENCES[3])]}
    left = run(said(1), gold, vad="none", limits=limits, hallucination="drop")
    assert [drop.row for drop in left.drops] == [0]
    assert left.drops[0].reason.startswith("perhaps invented text: ") and "logprob" in left.drops[0].reason
    assert rows_of(left)[0]["transcript"]


# --- Bad clips ----------------------------------------------------------------------------------------------


def test_damaged_audio_is_a_reject_and_its_neighbours_are_not(run):
    output = run(
        said(1), clip(b"x", lang="en"), clip(b"y", label("transcript", "Nobody."), lang="en"), said(2), vad="none"
    )
    assert [(reject.row, reject.error_class) for reject in output.rejects] == [(1, "Undecodable"), (2, "Undecodable")]
    rows = rows_of(output)
    assert rows[0]["transcript"] and rows[3]["transcript"] and rows[1]["transcript"] is None
    alike(rows[:1], rows_of(run(said(1), vad="none")))


def test_a_clip_that_breaks_the_model_is_a_reject_alone(folders, monkeypatch):
    stage = stage_of(folders, vad="none")
    stage.setup()
    clips = [said(number) for number in range(4)]
    clean = stage.process(batch_for(stage, clips)).columns.to_pylist()
    bad = decode_flac(clips[2]["audio"])
    detector = stage.transcriber.whisper.detector

    def brittle(sounds):
        if any(np.array_equal(sound, bad) for sound in sounds):
            raise ValueError("a sound that nobody can bear")
        return detector(sounds)

    monkeypatch.setattr(stage.transcriber.whisper, "detector", brittle)
    output = stage.process(batch_for(stage, clips))
    assert [(reject.row, reject.error_class) for reject in output.rejects] == [(2, "ValueError")]
    rows = output.columns.to_pylist()
    alike([rows[at] for at in (0, 1, 3)], [clean[at] for at in (0, 1, 3)])
    assert rows[2]["transcript"] is None
    with pytest.raises(ValueError, match="nobody can bear"):
        stage.process(batch_for(stage, [clips[2], clips[2]]))


def test_what_breaks_every_clip_is_no_clip_s_fault_however_they_are_divided(folders, monkeypatch):
    stage = stage_of(folders, vad="none", batch_seconds=30.0)
    stage.setup()

    def broken(sounds):
        raise ValueError("a model that cannot bear any sound")

    monkeypatch.setattr(stage.transcriber.whisper, "detector", broken)
    with pytest.raises(ValueError, match="cannot bear any"):
        stage.process(batch_for(stage, [clip(b"x", lang="en"), *(said(number) for number in range(3))]))


def test_the_next_clips_are_decoded_while_the_model_works(folders, monkeypatch):
    stage = stage_of(folders, vad="none", batch_seconds=30.0, align=False)
    stage.setup()
    decoded, decode, detector = [], batching.decode_flac, stage.transcriber.whisper.detector
    second = threading.Event()

    def noted(data):
        decoded.append(data)
        if len(decoded) == 2:
            second.set()
        return decode(data)

    heard = []

    def waiting(sounds):
        assert heard or second.wait(20), "nothing was decoded ahead"
        heard.append(len(sounds))
        return detector(sounds)

    monkeypatch.setattr(batching, "decode_flac", noted)
    monkeypatch.setattr(stage.transcriber.whisper, "detector", waiting)
    clips = [said(number) for number in range(7)]
    assert all(row["transcript"] for row in rows_of(stage.process(batch_for(stage, clips))))
    assert heard == [1, 4, 2], "one batch first, so that the model need not wait; then several"


def test_a_batch_of_nothing_is_nothing(run):
    assert len(run(vad="none").columns) == 0


# --- What is known before the run ---------------------------------------------------------------------------


def test_what_is_missing_is_said_before_the_run_with_the_command_that_mends_it(folders, monkeypatch, tmp_path):
    monkeypatch.setenv(manifest.CACHE_VARIABLE, str(tmp_path))
    assert stage_of(folders).check() is None
    wanted = stage_of(folders, model="whisper-tiny").check()
    assert wanted == "model whisper-tiny is not here: datagen models pull whisper-tiny"
    assert "whisper-tinny" in stage_of(folders, model="whisper-tinny").check()
    assert stage_of(folders, languages=["fr"]).check() == "model align-fr is not here: datagen models pull align-fr"
    assert stage_of(folders, languages=["fr"], align=False).check() is None
    monkeypatch.setattr(transcribe_models, "find_spec", lambda name: None)
    assert "make setup-main" in stage_of(folders).check()


def test_a_language_whisper_does_not_know_is_the_recipe_s_mistake(folders):
    stage = stage_of(folders, languages=["tlh"], vad="none")
    stage.setup()
    with pytest.raises(UsageError, match="does not know tlh"):
        stage.process(batch_for(stage, [said(1, None)]))


def test_the_key_follows_what_decides_the_result_and_nothing_else(folders, monkeypatch, tmp_path):
    monkeypatch.setenv(manifest.CACHE_VARIABLE, str(tmp_path))

    def key(**settings):
        stage = stage_of(folders, **settings)
        config = stage.config.model_dump(mode="json", exclude=stage.config.non_semantic | stage.config.idle())
        return json.dumps([config, stage.semantics()], sort_keys=True)

    moved = tmp_path / "moved"
    moved.mkdir()
    for file in folders["whisper"].iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    assert key() == key(batch_seconds=30.0) == key(device="auto") == key(model=str(moved))
    (moved / "config.json").write_text("{}", "utf-8")
    assert key(model=str(moved)) != key() != key(vad="silero")
    assert key() == key(min_confidence=0.9) and key(backend="auto") == key(backend="auto", beam_size=1, vad="none")
    assert key(backend="auto") != key(backend="auto", min_confidence=0.9)
    assert len({key(), key(beam_size=5), key(languages=["en"]), key(aligners={}), key(compute_type="int8")}) == 5


def test_an_aligner_pulled_for_something_else_changes_nothing_where_languages_are_named(folders, cache_with_french):
    named, any_language = stage_of(folders, languages=["en"]), stage_of(folders)
    before = named.semantics(), any_language.semantics()
    cache_with_french()
    assert named.semantics() == before[0] and any_language.semantics() != before[1]
    assert "fr" in any_language.semantics()["aligners"]


def test_a_text_in_a_language_that_is_not_named_says_so(run):
    one = said(0, "fr") | {"labels": [label("transcript", SENTENCES[0])]}
    (row,) = rows_of(run(one, vad="none", languages=["en", "de"]))
    assert row["transcript_reason"] == "no word times: 'fr' is not among transcribe.languages"


def test_what_could_not_be_known_before_the_run_is_said_at_its_end(run, folders, caplog):
    output = run(said(1, "fr"), said(2, "fr"), said(3, "sw"), said(4), vad="none")
    notes = stage_of(folders).notes(output.metrics)
    assert notes == [
        "2 clips in 'fr' have a text but no word times: model align-fr is not here: datagen models pull align-fr"
    ]
    assert stage_of(folders).notes(run(said(4), vad="none").metrics) == []


def test_an_aligner_that_was_there_when_the_run_began_is_not_missed_in_silence(folders, tmp_path):
    copy = tmp_path / "en"
    shutil.copytree(folders["en"], copy)
    stage = stage_of(folders, aligners={"en": str(copy)}, vad="none")
    stage.setup()
    shutil.rmtree(copy)
    with pytest.raises(EnvironmentFault, match="lacks what was there when the run began"):
        stage.process(batch_for(stage, [said(1)]))


def test_makers_are_named_with_their_licences(folders, monkeypatch, tmp_path):
    monkeypatch.setenv(manifest.CACHE_VARIABLE, str(tmp_path))
    makers = {maker.model: maker for maker in stage_of(folders).provenance()}
    whisper, detector = makers[folders["whisper"].name], makers["pyannote-segmentation"]
    assert stage_of(folders, model="").provenance()[0].licence == detector.licence == "MIT"
    assert "transcript" in whisper.columns
    assert whisper.where == ("transcript_source", "pseudo") and len(whisper.revision) == 32
    assert all("words" in makers[folders[lang].name].columns for lang in ("en", "de"))
    assert "pyannote-segmentation" not in {maker.model for maker in stage_of(folders, vad="none").provenance()}


def test_what_a_worker_wants_follows_the_backend():
    assert Transcribe.wants(TranscribeConfig(backend="whisperx")).gpus == "auto"
    assert Transcribe.wants(TranscribeConfig(backend="whisperx", device="cpu")).gpus == 0
    assert Transcribe.wants(TranscribeConfig()) == Transcribe.resources
    assert Transcribe(TranscribeConfig(backend="whisperx")).batch_rows > Transcribe(TranscribeConfig()).batch_rows


def test_work_is_counted(run):
    output = run(said(1), said(2), vad="none", align=False)
    seconds = said(1)["duration"] + said(2)["duration"]
    seconds = pytest.approx(seconds, abs=1e-3)
    assert output.metrics == {"audio_s": seconds, "fed_s": seconds, "padded_s": 60.0}
    aligned = run(said(1), said(2), vad="none").metrics
    assert aligned["audio_s"] == seconds, "what is heard and then aligned is still as long as it is"
    assert aligned["fed_s"] == pytest.approx(2 * output.metrics["audio_s"], abs=0.1) and aligned["padded_s"] > 60
    assert isinstance(output.columns, pa.Table)
