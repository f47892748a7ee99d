"""events: the corpus's own and a tagger's, on clips as the engine hands them over."""

import json
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from datagen import tables
from datagen.models import tagger as model
from datagen.quality import facts
from datagen.speech.audio import encode_flac
from datagen.stages.events import Events, EventsConfig, reference
from datagen.testing.batches import batch_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from datagen.testing.checkpoints import tagger

    return tagger.build(tmp_path_factory.mktemp("checkpoints") / "tagger")


def label(*events):
    value = json.dumps([{"event": name, "start": start, "end": end} for name, start, end in events])
    return [{"field": "event", "value": value, "source": "corpus", "reason": None}]


def clip(number, seconds=3.0, labels=()):
    noise = np.random.default_rng(number).normal(size=round(seconds * 16_000))
    smooth = np.convolve(noise, np.ones(1 + number % 5 * 4), "same")
    audio = encode_flac((smooth / np.abs(smooth).max() * 0.1 * (1 + number % 3)).astype(np.float32))
    return {"clip_id": f"c{number}", "duration": seconds, "labels": list(labels), "audio": audio}


def stage(folder, **config):
    made = Events(EventsConfig(model=str(folder), device="cpu", **config))
    assert made.check() is None
    made.setup()
    return made


def events(made, *rows):
    output = made.process(batch_for(made, rows))
    assert output.columns.schema == tables.EVENTS
    return output.columns["events"].to_pylist(), output


def test_what_is_heard_lies_in_the_clip_and_reads_as_facts(folder):
    rows = [clip(number, 0.4 + number) for number in range(5)]
    made = stage(folder, threshold=0.6)
    found, output = events(made, *rows)
    assert sum(map(len, found)) > 5 and not output.rejects
    names = set(model.vocabulary().events)
    for row, heard in zip(rows, found, strict=True):
        for event in heard:
            assert event["event"] in names
            assert 0 <= event["start"] < event["end"] <= row["duration"]
            assert 0.6 <= event["score"] <= 1 and event["score"] == round(event["score"], 6)
            assert event["start"] == round(event["start"], 3) and event["end"] == round(event["end"], 3)
        assert heard == sorted(heard, key=lambda event: (event["start"], event["end"], event["event"]))
        record = facts.from_row({"clip_id": row["clip_id"], "events": heard})
        assert [span.text for span in record.events] == list(dict.fromkeys(event["event"] for event in heard))
    assert output.metrics["audio_s"] == pytest.approx(sum(row["duration"] for row in rows), abs=0.01)


def test_company_changes_nothing(folder):
    rows = [clip(number, 0.5 + number % 4) for number in range(7)]
    made = stage(folder, threshold=0.5)
    together, _ = events(made, *rows)
    alone = [events(made, row)[0][0] for row in rows]
    turned, _ = events(made, *rows[::-1])
    assert len({json.dumps(heard) for heard in together}) == len(rows), "all clips alike would prove nothing"
    for other in (alone, turned[::-1]):
        for one, two in zip(together, other, strict=True):
            assert [(e["event"], e["start"], e["end"]) for e in one] == [
                (e["event"], e["start"], e["end"]) for e in two
            ]
            assert [e["score"] for e in one] == pytest.approx([e["score"] for e in two], abs=1e-5)


def test_the_corpus_s_events_are_kept_and_the_rest_is_listened_to(folder):
    said = clip(1, labels=label(("[Laughing]", 0.5, 1.25), ("door slam", None, None)))
    found, output = events(stage(folder, threshold=0.2), said, clip(2))
    assert found[0] == [
        {"event": "laughter", "start": 0.5, "end": 1.25, "score": None},
        {"event": "door_slam", "start": None, "end": None, "score": None},
    ]
    assert found[1] and all(event["score"] is not None for event in found[1])
    assert output.metrics["audio_s"] == pytest.approx(3.0), "the clip that the corpus speaks of is not decoded"
    assert output.metrics["padded_s"] == pytest.approx(2 * 10.24), "two windows"
    (heard, other), _ = events(stage(folder, backend="ast", threshold=0.2), said, clip(2))
    assert all(event["score"] is not None for event in heard) and other == found[1]


def test_without_a_model_only_the_corpus_speaks():
    made = Events(EventsConfig(backend="reference"))
    assert made.check() is None and made.models() == () and Events.wants(made.config).gpus == 0
    made.setup()
    found, output = events(made, clip(1, labels=label(("cough", 0.1, 0.2))), {"clip_id": "x"}, clip(3, labels=label()))
    assert [heard and heard[0]["event"] for heard in found] == ["cough", None, None]
    assert not output.rejects
    assert reference([{"field": "event", "value": None, "source": "c", "reason": "?"}]) is None


def test_nothing_heard_is_an_empty_list_and_a_broken_clip_is_a_reject(folder):
    broken = clip(1) | {"audio": b"not flac"}
    (found), output = events(stage(folder, threshold=0.999999), clip(0), broken, clip(2), clip(3, 0.02))
    assert found == [[], [], [], []]
    assert [(reject.row, reject.error_class) for reject in output.rejects] == [(1, "Undecodable")]


def test_an_event_may_have_a_threshold_of_its_own(folder):
    rows = [clip(number) for number in range(4)]
    wide, _ = events(stage(folder, threshold=0.5), *rows)
    names = {event["event"] for heard in wide for event in heard}
    name = sorted(names)[0]
    narrow, _ = events(stage(folder, threshold=0.5, thresholds={name: 0.9999999}), *rows)
    assert {event["event"] for heard in narrow for event in heard} == names - {name}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"thresholds": {"laughing": 0.5}}, "did you mean 'laughter'"),
        ({"thresholds": {"laughter": 1.5}}, "no score between"),
        ({"window_s": 11.0}, "less than or equal to 10.24"),
        ({"window_s": 1.0, "hop_s": 1.5}, "what lies between is not heard"),
        ({"hop_s": 0}, "greater than or equal to 0.05"),
    ],
)
def test_settings_that_make_no_sense_are_refused(config, says):
    with pytest.raises(ValidationError, match=says):
        EventsConfig(**config)


def test_a_missing_model_is_found_before_anything_starts(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("DATAGEN_MODELS", str(tmp_path))
    assert "datagen models pull ast-audioset" in (Events().check() or "")
    assert Events().provenance()[1].licence == "BSD-3-Clause"
    assert "preprocessor_config.json" in (Events(EventsConfig(model=str(tmp_path))).check() or "")
    of_folder = Events(EventsConfig(model=str(folder)))
    assert of_folder.semantics() != Events().semantics(), "another model is another key"


def test_asking_whether_it_can_run_imports_no_model_library():
    code = (
        "import sys; from datagen.stages.events import Events; from datagen.stages.diarize import Diarize; "
        "Events().check(); Diarize().check(); Events().semantics(); Diarize().semantics(); "
        "sys.exit(bool({'torch', 'transformers', 'torchaudio', 'pyannote.audio', 'whisperx'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
