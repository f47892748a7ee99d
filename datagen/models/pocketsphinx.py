"""English words and their times from the acoustic model inside the pocketsphinx wheel: no download, no torch.

Three questions, each answered about one clip of at most a minute:

- ``recognise``: which words are these? Large vocabulary, about 5 times faster than the sound, and rough: of acted
  speech every second word is wrong, so the caller must look at the scores (``docs/transcription.md``).
- ``align``: when is each of these words said? The order of words is fixed; about 90 times faster than the sound.
- ``locate``: which stretch of this long text is said here? A decoder that knows nothing but that text (made in 0.1 s)
  finds the words at about 30 times the speed of the sound; then an alignment that may leave out words at the edges
  settles the ends.

Features are normalised within the clip, so no answer depends on what was asked before.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from datagen.models.g2p import pronounce
from datagen.speech import text
from datagen.stage import Provenance

Pcm = npt.NDArray[np.int16]

LANGUAGE = "en"
_FRAME_S = 0.01
#: Wide beams: a reader who sobs, whispers or halts must not fall off the one path that is right.
_ALIGNER = {"lm": None, "bestpath": False, "fwdflat": False, "beam": 1e-80, "pbeam": 1e-80, "wbeam": 1e-60}
#: Without the second, flat pass: a fifth faster, and the word error rate on acted speech is no worse.
_RECOGNISER = {"fwdflat": False}
#: The likelihoods of a grammar's path come divided by 2**10.
_SCORE_SCALE = 1024
#: Words at each end of a located stretch that the alignment may add or leave out.
_SLACK = 3


class Word(NamedTuple):
    """Seconds from the beginning of the samples, score in 0..1; all null for a word nobody can pronounce."""

    word: str
    start: float | None
    end: float | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Located:
    """``words`` are items ``first`` and following of the searched text.

    ``agreement`` is 1 - word error rate of free recognition (within the text's vocabulary) against the stretch: 1 when
    every word was heard in its place, below 0.4 when the text has nothing to do with the sound.
    """

    first: int
    words: tuple[Word, ...]
    agreement: float


def provenance(*columns: str) -> Provenance:
    """Maker of ``columns``: acoustic model, dictionary and language model of the wheel, all under its licence."""
    return Provenance("pocketsphinx en-us", version("pocketsphinx"), "BSD-2-Clause", columns)


class PocketSphinx:
    """Decoders are made when first needed: the large vocabulary takes 0.5 s and 150 MB, the others 0.1 s each."""

    def __init__(self) -> None:
        self._engines: dict[str, _Engine] = {}
        self._locator: _Engine | None = None
        self._text: tuple[str, ...] = ()

    def recognise(self, pcm: Pcm) -> list[Word]:
        """Words heard, empty when there are none. ``score``: posterior probability of the word in the lattice."""
        heard = self._engine("recogniser", _RECOGNISER).decode(pcm)
        return [Word(s.word, s.start, s.end, round(min(s.posterior, 1.0), 6)) for s in heard]

    def align(self, pcm: Pcm, words: Sequence[str]) -> list[Word] | None:
        """Times of ``words`` (as ``text.words`` splits them), or None when they cannot be laid over the sound.

        ``score``: likelihood of the word's sounds relative to the best-matching sounds, geometric mean over frames.
        Words without a known pronunciation (other scripts, odd numbers) are passed over and come back without times.
        """
        path = self._follow(pcm, words, (0, 0), (len(words), len(words)))
        return list(path.words) if path else None

    def locate(self, pcm: Pcm, words: Sequence[str]) -> Located | None:
        """The stretch of ``words``, a text that may be much longer, said in ``pcm``; None when there is none."""
        spoken = [(part, at) for at, word in enumerate(words) for part in text.spoken(word, LANGUAGE) or ()]
        said = [part for part, _ in spoken]
        heard = self._hear(pcm, said)
        begin, end, errors = fit(heard, said)
        if begin == end:
            return None
        first, last = spoken[begin][1], spoken[end - 1][1] + 1
        middle = (first + last) // 2
        starts = max(first - _SLACK, 0), min(first + _SLACK, middle)
        ends = max(last - _SLACK, middle + 1), min(last + _SLACK, len(words))
        path = self._follow(pcm, words, starts, ends)
        if path is None:
            return None
        return Located(path.first, path.words, round(1 - errors / max(len(heard), end - begin), 6))

    # --- Decoding -------------------------------------------------------------------------------------------

    def _engine(self, name: str, settings: dict[str, Any]) -> _Engine:
        if name not in self._engines:
            self._engines[name] = _Engine(settings)
        return self._engines[name]

    def _hear(self, pcm: Pcm, said: Sequence[str]) -> list[str]:
        """Recognition with the words of a text and a trigram model of it; kept while the text stays the same."""
        if self._locator is None or self._text != tuple(said):
            # A decoder of its own with these words only takes 0.1 s to make; adding a language model to one that
            # knows the whole dictionary takes 2 s.
            entries = list(self._entries(dict.fromkeys(said)))
            known = {entry.partition(" ")[0] for entry in entries}
            order = [word for word in said if word in known]
            if not order:
                return []
            from pocketsphinx.lm import ArpaBoLM

            model = ArpaBoLM(text=" ".join(("<s>", *order, "</s>")))
            model.compute()
            with tempfile.TemporaryDirectory() as folder:
                lm, dictionary = Path(folder) / "text.lm", Path(folder) / "text.dict"
                dictionary.write_text("\n".join(entries) + "\n", encoding="utf-8")
                with lm.open("w", encoding="utf-8") as file:
                    model.write(file)
                self._locator = _Engine({"fwdflat": False, "lm": str(lm), "dict": str(dictionary)})
            self._text = tuple(said)
        return [segment.word for segment in self._locator.decode(pcm)]

    def _entries(self, words: Iterable[str]) -> Iterator[str]:
        """Lines of a dictionary file: the word, its phones, and each other way to say it as ``word(2)``."""
        lookup = self._engine("aligner", _ALIGNER).decoder.lookup_word
        for word in words:
            phones = pronounce(word, lookup)
            for number in range(2, 9):
                if phones is None:
                    break
                yield f"{word if number == 2 else f'{word}({number - 1})'} {phones}"
                phones = lookup(f"{word}({number})")

    def _follow(self, pcm: Pcm, words: Sequence[str], starts: tuple[int, int], ends: tuple[int, int]) -> _Path | None:
        """The best path over ``words[start:end]`` with start and end within the (inclusive) bounds given.

        The grammar is a chain of spoken words, entered and left at any boundary allowed; the decoder itself puts
        optional silence everywhere and knows the alternative pronunciations.
        """
        engine = self._engine("aligner", _ALIGNER)
        low, high = starts[0], ends[1]
        chain: list[str] = []
        state = {low: 0}  # boundary between two words -> state of the chain
        for at in range(low, high):
            said = text.spoken(words[at], LANGUAGE) or []
            if all(engine.learn(part) for part in said):
                chain.extend(said)
            state[at + 1] = len(chain)
        if not chain:
            return None
        entries = sorted({state[at] for at in range(starts[0], starts[1] + 1)})
        exits = sorted({state[at] for at in range(ends[0], ends[1] + 1)})
        source, sink = len(chain) + 1, len(chain) + 2
        links: list[tuple[Any, ...]] = [(at, at + 1, 1.0, part) for at, part in enumerate(chain)]
        links += [(source, entry, 1 / len(entries)) for entry in entries]
        links += [(way_out, sink, 1 / len(exits)) for way_out in exits]
        grammar = engine.decoder.create_fsg("path", source, sink, links)
        engine.use(lambda name: engine.decoder.add_fsg(name, grammar))
        segments = engine.decode(pcm)
        offset = _offset(chain, [segment.word for segment in segments], entries, exits)
        if offset is None:
            return None
        inside = [at for at in range(low, high + 1) if offset <= state[at] <= offset + len(segments)]
        first = max([at for at in inside if state[at] == offset and at <= starts[1]], default=inside[0])
        last = min([at for at in inside if state[at] == offset + len(segments) and at >= ends[0]], default=inside[-1])
        return _Path(
            first,
            tuple(
                _joined(words[at], segments[state[at] - offset : state[at + 1] - offset]) for at in range(first, last)
            ),
        )


class _Segment(NamedTuple):
    word: str
    start: float
    end: float
    posterior: float
    log_likelihood: float  # in nats, of the segment as a whole


class _Path(NamedTuple):
    first: int
    words: tuple[Word, ...]


class _Engine:
    """A decoder, and the one search (language model or grammar) it holds beyond the one it was made with."""

    def __init__(self, settings: dict[str, Any]) -> None:
        from pocketsphinx import Decoder

        self.decoder = Decoder(loglevel="FATAL", **settings)
        self.searching = False
        self._count = 0

    def learn(self, word: str) -> bool:
        """Whether the dictionary has ``word``, after teaching it how the word is probably said."""
        if self.decoder.lookup_word(word):
            return True
        phones = pronounce(word, self.decoder.lookup_word)
        if phones is None:
            return False
        self.decoder.add_word(word, phones, False)
        return True

    def use(self, add: Callable[[str], None]) -> None:
        """Replace the search. A search must be made active before the last one is freed: the decoder points to it."""
        self._count += 1
        add(f"search{self._count}")
        self.decoder.activate_search(f"search{self._count}")
        if self.searching:
            self.decoder.remove_search(f"search{self._count - 1}")
        self.searching = True

    def decode(self, pcm: Pcm) -> list[_Segment]:
        """Words of the best path, without silence and noise; empty when no path reaches the end."""
        if not len(pcm) or int(pcm.max()) - int(pcm.min()) <= 2:
            return []  # in digital silence the decoder hears "dog", with certainty
        decoder = self.decoder
        # The noise estimate runs on from one utterance into the next; this sets it back (in 0.1 ms).
        decoder.reinit_feat()
        decoder.start_utt()
        # The whole utterance at once: only then is the cepstral mean that of this clip and of no other.
        decoder.process_raw(np.ascontiguousarray(pcm, dtype="<i2").tobytes(), no_search=False, full_utt=True)
        decoder.end_utt()
        if decoder.hyp() is None:
            return []
        return [
            _Segment(
                segment.word.partition("(")[0],
                round(segment.start_frame * _FRAME_S, 2),
                round((segment.end_frame + 1) * _FRAME_S, 2),
                float(segment.prob),
                math.log(segment.ascore) * _SCORE_SCALE if segment.ascore > 0 else -math.inf,
            )
            for segment in decoder.seg()
            if segment.word[0] not in "<[("
        ]


def _joined(word: str, parts: Sequence[_Segment]) -> Word:
    """One word of the text from the segments of its spoken parts (a number has several)."""
    if not parts:
        return Word(word, None, None, None)
    frames = round((parts[-1].end - parts[0].start) / _FRAME_S)
    score = math.exp(sum(part.log_likelihood for part in parts) / frames)
    return Word(word, parts[0].start, parts[-1].end, round(min(score, 1.0), 6))


def _offset(chain: Sequence[str], found: Sequence[str], entries: Sequence[int], exits: Sequence[int]) -> int | None:
    """Where in ``chain`` the words ``found`` stand, from an allowed entry to an allowed exit; None when nowhere.

    A decoder that ran out of paths returns a piece of one; such an answer does not end at an exit.
    """
    for entry in entries:
        if found and entry + len(found) in exits and list(chain[entry : entry + len(found)]) == list(found):
            return entry
    return None


def fit(heard: Sequence[str], said: Sequence[str]) -> tuple[int, int, int]:
    """The stretch ``said[begin:end]`` that differs least from ``heard``: (begin, end, word errors).

    Edit distance with free ends on the side of ``said`` (Sellers 1980, J. Algorithms 1, 359-373). Of stretches equally
    close the longest wins, since a word misheard at the edge was nevertheless said.
    """
    if not heard or not said:
        return 0, 0, len(heard)
    words = {word: number for number, word in enumerate(dict.fromkeys([*said, *heard]))}
    row_of = np.array([words[word] for word in said])
    column = np.arange(len(said) + 1)
    costs = np.zeros((len(heard) + 1, len(said) + 1), dtype=np.int32)
    for at, word in enumerate(heard, 1):
        above = costs[at - 1]
        best = above + 1
        best[1:] = np.minimum(best[1:], above[:-1] + (row_of != words[word]))
        # A run of skipped words costs one each: a running minimum of cost minus position.
        costs[at] = np.minimum.accumulate(best - column) + column
    end = len(said) - int(np.argmin(costs[-1][::-1]))
    begin = end
    for at in range(len(heard), 0, -1):
        wrong = row_of[begin - 1] != words[heard[at - 1]] if begin else True
        while (
            begin
            and costs[at][begin] == costs[at][begin - 1] + 1
            and costs[at][begin] != costs[at - 1][begin - 1] + wrong
        ):
            begin -= 1
            wrong = row_of[begin - 1] != words[heard[at - 1]] if begin else True
        if begin and costs[at][begin] == costs[at - 1][begin - 1] + wrong:
            begin -= 1
    return begin, end, int(costs[-1][end])
