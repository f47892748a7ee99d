import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.models.g2p import pronounce

KNOWN = {
    "beauty": "B Y UW T IY",
    "feel": "F IY L",
    "make": "M EY K",
    "bury": "B EH R IY",
    "rain": "R EY N",
    "coat": "K OW T",
}
PHONES = set(
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split()  # noqa: SIM905
)


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("beauty", "B Y UW T IY"), ("beauty's", "B Y UW T IY Z"), ("feel'st", "F IY L S T"), ("mak'st", "M EY K S T"),
        ("buriest", "B EH R IY AH S T"), ("raincoat", "R EY N K OW T"), ("churl", "CH ER L"), ("glate", "G L EY T"),
        ("knibb", "N IH B"), ("naïf", "N EY F"),
    ],
)  # fmt: skip
def test_endings_compounds_and_letters(word, phones):
    assert pronounce(word, KNOWN.get) == phones


@given(st.text(string.ascii_lowercase + "'éñß", min_size=1, max_size=20))
def test_any_latin_word_gets_phones_of_the_set_and_a_bare_mark_none(word):
    phones = pronounce(word, KNOWN.get)
    assert (phones is None) == (not word.strip("'"))
    assert phones is None or set(phones.split()) <= PHONES


def test_other_scripts_are_not_guessed():
    assert pronounce("привет", KNOWN.get) is None
    assert pronounce("12", KNOWN.get) is None
