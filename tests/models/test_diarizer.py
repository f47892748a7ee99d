"""The diarization pipeline on a tiny random checkpoint, and what becomes of its answers."""

from __future__ import annotations

import os
import shutil
import socket
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.errors import RunError
from datagen.models import diarizer
from datagen.models.diarizer import Turn, overlaps, rows, turns
from datagen.testing.speech import synth


@pytest.fixture(scope="module")
def model(diarizer_folder):
    return diarizer.Diarizer(diarizer_folder, batch_seconds=16)


@pytest.fixture(scope="module")
def talk():
    """Seven seconds of two synthetic voices."""
    ann, _ = synth("Where did you leave the car this morning?", f0_hz=210, level_db=-22, seed=1)
    bob, _ = synth("It is standing behind the station, I think.", f0_hz=110, level_db=-26, seed=2)
    return np.concatenate([ann, np.zeros(8000, np.float32), bob])


def test_turns_are_those_of_whisperx_s_own_class(model, diarizer_folder, talk):
    import torch
    from whisperx.diarize import DiarizationPipeline

    threads = torch.get_num_threads()
    stock = DiarizationPipeline(str(diarizer_folder))(talk)
    torch.set_num_threads(threads)
    said = list(zip(stock["start"], stock["end"], stock["speaker"], strict=True))
    found = model(talk)
    assert len(found) >= 5
    assert found == turns(said, len(talk) / 16_000)
    assert found != model(talk[8000:]), "another sound has other turns"


def test_turns_lie_in_the_recording_and_come_again(model, talk):
    found = model(talk)
    seconds = len(talk) / 16_000
    assert all(0 <= turn.start < turn.end <= seconds for turn in found)
    assert found == sorted(found) and found == model(talk)
    heard = list(dict.fromkeys(turn.voice for turn in found))
    assert heard == list(range(len(heard))), "voices are counted as they are first heard"


def test_the_number_of_voices_can_be_given(model, talk):
    assert {turn.voice for turn in model(talk, num_speakers=1)} == {0}
    assert {turn.voice for turn in model(talk, max_speakers=1)} == {0}
    assert {turn.voice for turn in model(talk, num_speakers=2)} == {0, 1}


@pytest.mark.parametrize("samples", [0, 1, 100, 4000])
def test_next_to_no_sound_is_no_error(model, samples):
    noise = np.random.default_rng(0).normal(0, 0.01, samples).astype(np.float32)
    assert all(turn.end <= samples / 16_000 for turn in model(noise))


def test_silence_has_no_turns(model):
    assert model(np.zeros(80_000, np.float32)) == []


def test_out_of_memory_halves_the_windows_and_changes_nothing(diarizer_folder, talk, model, caplog):
    tight = diarizer.Diarizer(diarizer_folder, batch_seconds=16)
    forward = tight.pipeline._segmentation.model.forward
    sizes = []

    def small(chunks):
        sizes.append(len(chunks))
        if len(chunks) > 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return forward(chunks)

    tight.pipeline._segmentation.model.forward = small
    assert tight(talk) == model(talk)
    assert max(sizes) > 1 and "going on with 1 windows" in caplog.text


def test_nothing_is_reported_or_looked_up(diarizer_folder, talk, monkeypatch):
    monkeypatch.setenv("PYANNOTE_METRICS_ENABLED", "true")
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("somebody asks the network"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("somebody asks for an address"))
    diarizer.Diarizer(diarizer_folder)(talk)
    from pyannote.audio.telemetry import metrics

    assert os.environ["PYANNOTE_METRICS_ENABLED"] == "0" and not metrics.is_metrics_enabled()
    assert metrics.provider.force_flush(100)


# --- Folders of one's own -----------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path, diarizer_folder):
    return shutil.copytree(diarizer_folder, tmp_path / "own")


class Bomb:
    """What a pickle can do to whoever opens it."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (str(self.target),))


def test_a_checkpoint_of_one_s_own_is_not_unpickled_unseen(own, tmp_path):
    import torch

    file = own / "segmentation" / "pytorch_model.bin"
    held = torch.load(file, weights_only=False)
    torch.save(held | {"callbacks": Bomb(tmp_path / "owned")}, file)
    with pytest.raises(RunError, match=r"pytorch_model.bin: not loaded, it holds more than weights: .*mkdir"):
        diarizer.Diarizer(own)
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_cannot_have_any_module_imported(own):
    import torch

    file = own / "embedding" / "pytorch_model.bin"
    held = torch.load(file, weights_only=False)
    held["pyannote.audio"]["architecture"]["module"] = "antigravity"
    torch.save(held, file)
    with pytest.raises(RunError, match="antigravity, which is no model of pyannote"):
        diarizer.Diarizer(own)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("pyannote.audio.pipelines.SpeakerDiarization", "subprocess.Popen", "subprocess.Popen is not"),
        ("$model/embedding", "somebody/else", "embedding: 'somebody/else' is no folder beside it"),
        ("$model/plda", "$model/../plda", "plda: "),
        ("$model/segmentation", "$model/nowhere", "segmentation: "),
        ("params:\n  clustering", "preprocessors: {a: b}\nparams:\n  clustering", "preprocessors are not supported"),
        ("pipeline:\n  name", "other:\n  name", "not the configuration"),
    ],
)
def test_a_configuration_names_the_pipeline_and_the_files_beside_it_only(own, old, new, says):
    file = own / "config.yaml"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(RunError, match="config.yaml: .*" + says.replace("$", r"\$")):
        diarizer.Diarizer(own)


@pytest.mark.parametrize("change", ["missing", "left over"])
def test_weights_that_do_not_fit_are_an_error(own, change):
    import torch

    file = own / "embedding" / "pytorch_model.bin"
    held = torch.load(file, weights_only=False)
    if change == "missing":
        del held["state_dict"]["resnet.seg_1.weight"]
    else:
        held["state_dict"]["resnet.seg_3.weight"] = torch.zeros(2)
    torch.save(held, file)
    with pytest.raises(RunError, match=r"do not fit their architecture: (.|\n)*seg_[13].weight"):
        diarizer.Diarizer(own)


# --- Answers written by hand --------------------------------------------------------------------------------


def test_tracks_become_turns_named_by_order_and_cut_at_the_end():
    tracks = [(4.0, 11.2, "SPEAKER_01"), (-0.01, 2.00049, "SPEAKER_07"), (2.0, 2.0003, "SPEAKER_03")]
    assert turns(tracks, 10.0) == [Turn(0.0, 2.0, 0), Turn(4.0, 10.0, 1)]


def test_the_annotation_of_pyannote_goes_through():
    from pyannote.core import Annotation, Segment

    answer = Annotation()
    answer[Segment(0, 2), "a"] = "SPEAKER_01"
    answer[Segment(1, 3), "b"] = "SPEAKER_00"
    answer[Segment(1, 3), "c"] = "SPEAKER_02"
    tracks = [(s.start, s.end, label) for s, _, label in answer.itertracks(yield_label=True)]
    assert turns(tracks, 3.0) == [Turn(0.0, 2.0, 0), Turn(1.0, 3.0, 1), Turn(1.0, 3.0, 2)]


def test_overlap_is_marked_where_more_than_one_voice_speaks():
    found = [Turn(0.0, 4.0, 0), Turn(2.0, 3.0, 1), Turn(2.5, 6.0, 2), Turn(6.0, 7.0, 0), Turn(6.5, 7.0, 0)]
    assert overlaps(found) == [(2.0, 4.0, 3)]
    assert overlaps([Turn(0, 1, 0), Turn(1, 2, 1)]) == [] == overlaps([])


def test_rows_name_voices_that_no_other_recording_has():
    found = [Turn(0.0, 2.0, 0), Turn(1.5, 3.0, 1)]
    assert [tuple(row.values()) for row in rows("r1", 1, found)] == [
        ("r1", 1, 0.0, 2.0, "speaker", "r1-1-00", "diarizer"),
        ("r1", 1, 1.5, 2.0, "overlap", "2", "diarizer"),
        ("r1", 1, 1.5, 3.0, "speaker", "r1-1-01", "diarizer"),
    ]
    other = {row["value"] for row in rows("r2", 1, found)} | {row["value"] for row in rows("r1", 0, found)}
    assert not {row["value"] for row in rows("r1", 1, found) if row["field"] == "speaker"} & other


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 50), st.integers(0, 3)), max_size=12))
def test_overlaps_are_exactly_where_a_count_says_so(drawn):
    found = sorted(Turn(begin / 10, (begin + length) / 10, voice) for begin, length, voice in drawn)
    shared = overlaps(found)
    assert all(earlier[1] < later[0] for earlier, later in pairwise(shared))
    for tick in range(0, 2600, 1):
        at = tick / 10 + 0.05
        voices = len({turn.voice for turn in found if turn.start <= at < turn.end})
        inside = [most for begin, end, most in shared if begin <= at < end]
        assert bool(inside) == (voices > 1) and all(most >= voices for most in inside)
