"""Is a word said of this voice, or of something else? "A fast car" and "a remark that it is loud here" claim nothing.

Rules of word order, no parser, and the same for every language; the words they look for are the lexicon's. What is
said of something else, reported, supposed, generally true or called unknown is no claim about the clip. In doubt a word
is about the voice: a sound sentence refused is written again, a lie that passes is learnt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from datagen.quality.lexicon import CLAIM_KINDS, QUOTE_MARK, Lexicon, Token, Words

_MARKS = frozenset(":–—()")
_NEAR = 5  # most tokens between a coloured word and the voice it colours
_BACK = 6  # most words between a copula and the beginning of its subject
_HEADED = frozenset({"noun", "voice"})
_VOICED = _HEADED | {"sex", "pronoun", "age"}
_NO_OF = frozenset(
    {"event", "sex", "pronoun", "age", "relation", "cue", "voice"}
)  # "the laughter of a child" was heard


def elsewhere(sentence: Sequence[Token], lexicon: Lexicon) -> list[bool]:
    """For each token, whether a claim made with it would not be about the voice of the clip."""
    off = [False] * len(sentence)
    for first, last in _clauses(sentence, lexicon):
        _whole_clause(sentence, first, last, lexicon, off)
    _reported(sentence, lexicon, off)
    for index, token in enumerate(sentence):
        if off[index] or token.item is None:
            continue
        off[index] = _elsewhere(sentence, index, lexicon)
    return off


def _elsewhere(sentence: Sequence[Token], index: int, lexicon: Lexicon) -> bool:
    token = sentence[index]
    if token.text in lexicon.adjectives and (
        _before_another(sentence, index, lexicon) or _said_of_another(sentence, index, lexicon)
    ):
        return True
    if token.kind not in _NO_OF and _of_another(sentence, index, lexicon):
        return True
    if token.kind == "coloured":
        return not _near(sentence, index, lexicon.audible, _VOICED)
    if token.kind == "scene":
        return not _near(sentence, index, lexicon.scenery, frozenset())
    return token.kind == "degree" and not _beside_claim(sentence, index)


def _clauses(sentence: Sequence[Token], lexicon: Lexicon) -> Iterable[tuple[int, int]]:
    """(first, past the last) index of the stretches between breaks, colons, and commas before a conjunction."""
    first = 0
    for index, token in enumerate(sentence):
        after = sentence[index + 1] if index + 1 < len(sentence) else None
        comma = token.text == "," and after is not None and (after.kind == "joiner" or after.text in lexicon.openers)
        if token.kind == "break" or token.text in _MARKS or comma:
            if index > first:
                yield first, index
            first = index + 1
    if first < len(sentence):
        yield first, len(sentence)


def _whole_clause(sentence: Sequence[Token], first: int, last: int, lexicon: Lexicon, off: list[bool]) -> None:
    """What is called unknown, said of voices in general, or supposed."""
    for index in range(first, last):
        kind = sentence[index].kind
        if kind == "doubt":
            off[first:last] = [True] * (last - first)
            return
        if kind == "generic":
            start = next((at + 1 for at in range(index, first - 1, -1) if sentence[at].text == ","), first)
            if not _this_speaker(sentence[start:index], lexicon):
                end = next((at for at in range(index, last) if sentence[at].text == ","), last)
                off[start:end] = [True] * (end - start)
        if kind == "suppose":
            end = next((at for at in range(index, last) if sentence[at].text == ","), last)
            # "a low voice would have ..." is about no voice from its first word on
            start = first if sentence[first].text in lexicon.indefinite else index
            start = index if _this_speaker(sentence[first:index], lexicon) else start
            off[start:end] = [True] * (end - start)


def _this_speaker(before: Sequence[Token], lexicon: Lexicon) -> bool:
    """Whether a clause begins with this speaker or voice, and not with voices ("a raised voice often ...")."""
    for index, token in enumerate(before):
        around = [earlier.text for earlier in before[max(0, index - 3) : index]]
        if token.kind in _HEADED:
            if any(word in lexicon.articles for word in around):
                return True
        elif token.text in lexicon.persons and not any(word in lexicon.indefinite for word in around):
            return True  # and not "a happy speaker may ..."
        elif token.kind in ("sex", "pronoun"):
            return True
    return False


def _reported(sentence: Sequence[Token], lexicon: Lexicon, off: list[bool]) -> None:
    """What is spoken about, from "about" or "says that" up to the next comma or break, or back to the voice."""
    inside = False
    for index, token in enumerate(sentence):
        if inside and (
            token.text == "," or token.kind == "break" or token.text in _MARKS or _back(sentence, index, lexicon)
        ):
            inside = False
        if inside:
            off[index] = True
        elif token.kind == "about" and not _voice_follows(sentence, index, lexicon):
            inside = True
        elif token.text in lexicon.that and index and _is_verb(sentence[index - 1], lexicon):
            inside = True  # "shouts that dinner is ready"


def _back(sentence: Sequence[Token], index: int, lexicon: Lexicon) -> bool:
    """ "... in a loud voice", "... at a fast pace", "... and laughs": the end of what is reported."""
    token, following = sentence[index], sentence[index + 1 : index + 6]
    if token.text in lexicon.manner:
        heads = [at for at, word in enumerate(following) if word.kind in _HEADED]
        return bool(heads) and all(word.kind != "about" and word.text != "," for word in following[: heads[0]])
    if token.kind != "joiner" or not following:
        return False
    if sentence[index - 1].text == QUOTE_MARK:
        return True  # "asks to _ and": what is reported was quoted, and the writer goes on in words of his own
    if following[0].text in lexicon.senses and following[0].text.endswith(lexicon.verb_endings):
        return True  # "... and sounds"
    return following[0].kind in CLAIM_KINDS and _is_verb(following[0], lexicon)


def _is_verb(token: Token, lexicon: Lexicon) -> bool:
    return token.kind in ("direct", "event", "unmeasured") and token.text.endswith(lexicon.verb_endings)


def _voice_follows(sentence: Sequence[Token], index: int, lexicon: Lexicon) -> bool:
    """ "about the voice", "about 212 Hz": nothing that is spoken of in the clip."""
    following = sentence[index + 1 : index + 4]
    if following and following[0].text[:1].isdigit():
        return True
    return any(word.kind in _HEADED or word.kind == "ask" for word in following)


def _plain(token: Token, lexicon: Lexicon) -> bool:
    """Whether this may be a noun that nobody listed: something other than a voice, a part of speech or a person."""
    text = token.text
    return (
        (token.item is None or token.kind == "scene")
        and len(text) > 1
        and text.isalpha()
        and not text.endswith(lexicon.adverb_endings)
        and text not in lexicon.function_words
        and text not in lexicon.adverbs
        and text not in lexicon.speaking
        and text not in lexicon.copulas
    )


def _before_another(sentence: Sequence[Token], index: int, lexicon: Lexicon) -> bool:
    """An adjective before a noun: "the loud street", "a rough, trembling engine"."""
    if (before := _before(sentence, index, lexicon)) is not None:
        verb = sentence[before].text
        if verb in lexicon.copulas or verb in lexicon.senses:
            return False
    after = index + 1
    while after < len(sentence) and _qualifies(sentence[after], lexicon):
        after += 1
    return after < len(sentence) and sentence[after - 1].text != "," and _plain(sentence[after], lexicon)


def _before(sentence: Sequence[Token], index: int, lexicon: Lexicon) -> int | None:
    """Index of the word before a row of adjectives and adverbs."""
    at = index - 1
    while at >= 0 and (_qualifies(sentence[at], lexicon) or _modifies(sentence[at], lexicon)):
        at -= 1
    return at if at >= 0 else None


def _modifies(token: Token, lexicon: Lexicon) -> bool:
    return token.kind == "negation" or token.text in lexicon.adverbs or token.text.endswith(lexicon.adverb_endings)


def _qualifies(token: Token, lexicon: Lexicon) -> bool:
    return token.text in lexicon.adjectives or token.kind in ("degree", "joiner") or token.text == ","


def _said_of_another(sentence: Sequence[Token], index: int, lexicon: Lexicon) -> bool:
    """ "The street is loud": a copula before the word, and a subject that is no voice."""
    verb = _before(sentence, index, lexicon)
    if verb is None or verb == 0 or sentence[verb].text not in lexicon.copulas:
        return False
    if not _plain(sentence[verb - 1], lexicon):
        return False
    for token in reversed(sentence[max(0, verb - _BACK) : verb]):
        if token.text == "," or token.kind == "break" or token.text in _MARKS:
            break
        if token.text in lexicon.speaking or token.kind in (*_HEADED, "sex", "pronoun", "age"):
            return False
    return True


def _of_another(sentence: Sequence[Token], index: int, lexicon: Lexicon) -> bool:
    """ "The volume of the television", "towards the end of the year"."""
    if index + 2 >= len(sentence) or sentence[index + 1].text not in lexicon.of:
        return False
    at = index + 2
    while at < len(sentence) - 1 and (sentence[at].text in lexicon.articles or sentence[at].text in lexicon.indefinite
                                      or sentence[at].text in lexicon.adjectives):  # fmt: skip
        at += 1
    return _plain(sentence[at], lexicon)


def _near(sentence: Sequence[Token], index: int, words: Words, kinds: frozenset[str]) -> bool:
    """Whether one of ``words``, or a token of ``kinds``, stands near and in the same clause."""
    for step in (-1, 1):
        at = index + step
        while 0 <= at < len(sentence) and abs(at - index) <= _NEAR:
            token = sentence[at]
            if token.kind == "break" or token.text in _MARKS:
                break
            if token.kind in kinds or token.text in words:
                return True
            at += step
    return False


def _beside_claim(sentence: Sequence[Token], index: int) -> bool:
    kinds = {*CLAIM_KINDS, "level", *_HEADED} - {"degree", "cue", "relation", "pronoun"}
    around = [*sentence[max(0, index - 1) : index], *sentence[index + 1 : index + 3]]
    return any(token.kind in kinds for token in around)
