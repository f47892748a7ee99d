import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.models.pocketsphinx import PocketSphinx, fit
from datagen.speech import text
from datagen.speech.audio import decode_flac

CLIPS = Path(__file__).resolve().parents[2] / "examples" / "clips"
SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "corpora"
ROWS = {
    row["file_name"]: row
    for row in map(json.loads, (CLIPS / "metadata.jsonl").read_text(encoding="utf-8").splitlines())
}


def pcm(name):
    return (decode_flac((CLIPS / name).read_bytes()) * 32768).astype(np.int16)


@pytest.fixture(scope="module")
def model():
    return PocketSphinx()


@pytest.fixture(scope="module")
def jfk():
    return pcm("speeches/jfk_inaugural_1961.flac")


JFK_WORDS = text.words(ROWS["speeches/jfk_inaugural_1961.flac"]["transcript"])
SONNET = text.words(ROWS["librivox/en_shakespeare_sonnet_1.flac"]["transcript"])


def test_forced_alignment_of_jfk_within_100ms(model, jfk):
    found = model.align(jfk, JFK_WORDS)
    assert [w.word for w in found] == JFK_WORDS
    # Beginnings after a pause, where the power rises out of the noise: read off the waveform by hand.
    truth = {0: 0.33, 5: 3.29, 6: 4.03, 7: 5.42, 14: 8.19}
    assert {at: JFK_WORDS[at] for at in truth} == {0: "and", 5: "ask", 6: "not", 7: "what", 14: "ask"}
    assert max(abs(found[at].start - seconds) for at, seconds in truth.items()) < 0.1
    assert abs(found[4].end - 2.15) < 0.1 and abs(found[6].end - 4.30) < 0.1
    assert all(a.start < a.end <= b.start for a, b in itertools.pairwise(found))
    assert all(0 < w.score <= 1 for w in found)


def test_a_text_that_is_not_said_does_not_fit(model, jfk):
    right = model.align(jfk, JFK_WORDS)
    wrong = model.align(jfk, SONNET[1:23])
    assert wrong is None or np.mean(np.log([w.score for w in wrong])) < np.mean(np.log([w.score for w in right])) - 2


def test_words_nobody_can_pronounce_keep_their_place_without_times(model, jfk):
    words = [*JFK_WORDS[:5], "привет", *JFK_WORDS[5:]]
    found = model.align(jfk, words)
    assert [w.word for w in found] == words
    assert found[5] == ("привет", None, None, None)
    assert found[6].start == pytest.approx(3.29, abs=0.1)
    assert model.align(jfk, ["привет"]) is None


def test_a_number_is_one_word_with_the_times_of_all_its_parts(model, jfk):
    words = list(JFK_WORDS)
    words[8] = "21"  # nobody says so, but it has to be laid over "your"
    found = model.align(jfk, words)
    assert [w.word for w in found] == words
    assert found[8].start < found[8].end


def test_the_answer_does_not_depend_on_what_was_asked_before(jfk):
    other = pcm("librispeech/2414-128291-0000.flac")
    fresh = PocketSphinx()
    first = fresh.align(jfk, JFK_WORDS), fresh.recognise(other), fresh.locate(other, SONNET)
    used = PocketSphinx()
    used.locate(jfk, JFK_WORDS + SONNET)
    used.recognise(jfk)
    used.align(other, SONNET[:5])
    assert (used.align(jfk, JFK_WORDS), used.recognise(other), used.locate(other, SONNET)) == first


def test_a_stretch_of_a_long_text_is_found_in_its_place(model):
    sound = pcm("librivox/en_shakespeare_sonnet_1.flac")[int(44.4 * 16000) :]
    found = model.locate(sound, SONNET)
    assert " ".join(w.word for w in found.words).startswith("pity the world or else this glutton be")
    assert found.words[-1].word == "thee" and SONNET[found.first : found.first + len(found.words)][0] == "pity"
    assert found.agreement > 0.8


def test_speech_that_is_not_in_the_text_does_not_agree_with_it(model, jfk):
    found = model.locate(jfk, SONNET)
    assert found is None or found.agreement < 0.5


def test_silence_says_nothing(model):
    silence = np.zeros(16000, np.int16)
    assert model.recognise(silence) == []
    assert model.recognise(silence[:0]) == []
    assert model.locate(silence, ["pity", "the", "world"]) is None
    assert model.align(silence[:160], ["pity", "the", "world"]) is None


@given(
    st.lists(st.sampled_from("abcd"), max_size=12),
    st.lists(st.sampled_from("abcd"), max_size=12),
    st.lists(st.sampled_from("abcd"), max_size=12),
)
def test_a_stretch_taken_from_a_text_is_found_without_error(before, inside, after):
    whole = [*before, *inside, *after]
    begin, end, errors = fit(inside, whole)
    assert errors == 0 and whole[begin:end] == inside


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=7), st.lists(st.sampled_from("abc"), min_size=1, max_size=9)
)
def test_fit_is_as_good_as_the_best_of_all_stretches(heard, said):
    def distance(a, b):
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            last, row[0] = row[0], i
            for j, y in enumerate(b, 1):
                last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
        return row[-1]

    begin, end, errors = fit(heard, said)
    best = min(distance(heard, said[i:j]) for i in range(len(said) + 1) for j in range(i, len(said) + 1))
    assert errors == best == distance(heard, said[begin:end])


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared corpora")
def test_right_texts_of_acted_speech_fit_and_wrong_ones_do_not(model):
    rows = [
        json.loads(line) for line in (SHARED / "devset" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    acted = [row for row in rows if row["corpus"] == "ravdess"][::18]
    right = wrong = 0
    for row in acted:
        sound = (decode_flac((SHARED / "devset" / row["file"]).read_bytes()) * 32768).astype(np.int16)
        for words in (text.words(row["transcript"]), ["seven", "people", "bought", "a", "new", "house"]):
            found = model.align(sound, words)
            fits = bool(found) and float(np.exp(np.mean(np.log([w.score + 1e-9 for w in found])))) >= 0.02
            right += fits and words[0] != "seven"
            wrong += fits and words[0] == "seven"
    assert len(acted) == 20 and right >= 18 and wrong <= 1
