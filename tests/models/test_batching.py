"""Batches by length, decoded ahead; what breaks or does not fit costs nobody else."""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.errors import EnvironmentFault, RowError, UsageError
from datagen.models.batching import Batcher, out_of_memory, pad, padded, plan
from datagen.speech.audio import encode_flac

LENGTHS = st.lists(st.integers(1, 500), max_size=40)


@given(LENGTHS, st.integers(1, 2000), st.booleans())
def test_a_plan_holds_every_item_once_and_keeps_to_its_budget(lengths, most, equal):
    batches = plan(lengths, most, equal=equal)
    assert sorted(at for batch in batches for at in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[at] for at in batch)
        assert len(batch) == 1 or len(batch) * longest <= most
        assert not equal or {lengths[at] for at in batch} == {longest}
    assert batches == plan(lengths, most, equal=equal)


@given(LENGTHS, st.integers(1, 2000))
def test_likes_go_together_so_a_third_at_most_is_padding(lengths, most):
    assert sum(lengths) <= padded(lengths, plan(lengths, most)) <= 1.5 * sum(lengths)
    assert padded(lengths, plan(lengths, most, equal=True)) == sum(lengths)


def test_padding_stands_behind():
    batch, lengths = pad([np.ones(3, np.float32), np.full(5, 2, np.float32)])
    assert batch.tolist() == [[1, 1, 1, 0, 0], [2, 2, 2, 2, 2]]
    assert lengths.tolist() == [3, 5]


def clips(*seconds):
    """FLAC clips whose samples tell which one they are."""
    audio = [encode_flac(np.full(round(s * 16000), at + 1, np.int16)) for at, s in enumerate(seconds)]
    return pa.chunked_array([pa.array(audio, pa.large_binary())]), list(seconds)


def which(sounds):
    return [round(float(sound[0]) * 32768) - 1 for sound in sounds]


def test_answers_come_back_to_their_rows_and_costs_are_counted():
    audio, seconds = clips(0.75, 2.0, 1.0, 2.0, 0.25)
    sizes = []

    def forward(sounds):
        sizes.append([len(sound) / 16000 for sound in sounds])
        return which(sounds)

    answers = Batcher("toy", 4.0).run(audio, seconds, forward)
    assert answers.values == [0, 1, 2, 3, 4]
    assert sizes == [[2.0, 2.0], [1.0, 0.75], [0.25]]
    assert answers.rejects == []
    assert answers.metrics == {"audio_s": 6.0, "padded_s": 6.25}


def test_only_the_rows_asked_for_are_decoded():
    audio = pa.chunked_array([pa.array([b"no audio", clips(1.0)[0][0].as_py()], pa.large_binary())])
    answers = Batcher("toy", 4.0).run(audio, [1.0, 1.0], which, rows=[1])
    assert (answers.values, answers.rejects) == ([None, 0], [])


def test_what_cannot_be_decoded_is_refused_alone():
    audio, _ = clips(1.0, 1.0)
    broken = pa.chunked_array([pa.array([audio[0].as_py(), b"fLaC", audio[1].as_py()], pa.large_binary())])
    answers = Batcher("toy", 10.0).run(broken, [1.0, 1.0, 1.0], which)
    assert answers.values == [0, None, 1]
    assert [reject.row for reject in answers.rejects] == [1]


@pytest.mark.parametrize("error", [ValueError("not this one"), RowError("NotFinite", "not this one")])
def test_a_clip_that_breaks_the_model_is_refused_and_its_neighbours_are_not(error):
    audio, seconds = clips(*[1.0] * 9)

    def forward(sounds):
        if 4 in which(sounds):
            raise error
        return which(sounds)

    answers = Batcher("toy", 100.0).run(audio, seconds, forward)
    assert answers.values == [0, 1, 2, 3, None, 5, 6, 7, 8]
    ((row, kind, message),) = [(r.row, r.error_class, r.message) for r in answers.rejects]
    assert (row, message) == (4, "not this one")
    assert kind == getattr(error, "error_class", "ValueError")


def test_when_nothing_passes_the_model_is_at_fault():
    audio, seconds = clips(1.0, 1.0)

    def forward(sounds):
        raise ValueError("no weights")

    with pytest.raises(ValueError, match="no weights"):
        Batcher("toy", 100.0).run(audio, seconds, forward)


def test_rows_at_fault_may_all_be_refused():
    audio, seconds = clips(1.0, 1.0)

    def forward(sounds):
        raise RowError("NotFinite", "no")

    assert len(Batcher("toy", 100.0).run(audio, seconds, forward).rejects) == 2


def test_faults_of_the_machine_or_the_user_are_nobody_elses():
    audio, seconds = clips(1.0, 1.0)

    def forward(sounds):
        raise UsageError("no such model")

    with pytest.raises(UsageError):
        Batcher("toy", 100.0).run(audio, seconds, forward)


def test_out_of_memory_halves_the_batch_for_good_and_says_so_once(caplog):
    audio, seconds = clips(*[1.0] * 16)
    tried = []

    def forward(sounds):
        tried.append(len(sounds))
        if len(sounds) > 4:
            raise RuntimeError("CUDA failed with error out of memory")
        return which(sounds)

    batcher = Batcher("toy", 16.0)
    with caplog.at_level(logging.WARNING):
        assert batcher.run(audio, seconds, forward).values == list(range(16))
        first = list(tried)
        tried.clear()
        assert batcher.run(audio, seconds, forward).values == list(range(16))
    assert max(first) == 16
    assert max(tried) <= 4, "it has learnt"
    assert len([record for record in caplog.records if "out of memory" in record.message]) == 1


def test_a_clip_that_does_not_fit_alone_is_the_machines_fault():
    audio, seconds = clips(1.0, 2.0)

    def forward(sounds):
        if len(sounds[0]) > 16000:
            raise MemoryError
        return which(sounds)

    with pytest.raises(EnvironmentFault, match=r"2\.0 s of audio alone do not fit"):
        Batcher("toy", 3.0).run(audio, seconds, forward)


def test_the_errors_of_torch_and_ctranslate2_are_known():
    import torch

    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"))
    assert out_of_memory(RuntimeError("CUDA failed with error out of memory"))
    assert out_of_memory(RuntimeError("[enforce fail at alloc_cpu.cpp:116] DefaultCPUAllocator: can't allocate memory"))
    assert not out_of_memory(RuntimeError("size mismatch"))
    assert not out_of_memory(ValueError("out of memory"))
