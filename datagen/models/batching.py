"""Clips of a shard into model batches and back: planned by length, decoded ahead, halved when memory runs out.

What every speech model has in common lives here, so that an adapter is a function from a list of sounds to a list of
answers. Batches are planned from the lengths alone: the same rows give the same batches (law 5).
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datagen.errors import DatagenError, EnvironmentFault, RowError
from datagen.models.device import settle_threads
from datagen.speech.audio import decode_flac
from datagen.stage import Reject
from datagen.tables import SAMPLE_RATE

Floats = npt.NDArray[np.float32]
T = TypeVar("T")

_log = logging.getLogger(__name__)


def plan(lengths: Sequence[int], most: int, *, equal: bool = False) -> list[list[int]]:
    """Indices in batches of like length, longest first, so that what does not fit in memory shows at once.

    An item joins a batch whose longest is at most half as long again: a third of a batch's work at most is padding.

    Args:
        lengths: samples (or frames) of each item.
        most: of a batch, padding included; an item that is longer has a batch of its own.
        equal: only items of exactly the same length share a batch, for models that padding would change.
    """
    order = sorted(range(len(lengths)), key=lambda at: (-lengths[at], at))
    batches: list[list[int]] = []
    for at in order:
        longest = lengths[batches[-1][0]] if batches else 0
        fits = bool(batches) and (len(batches[-1]) + 1) * longest <= most and 3 * lengths[at] >= 2 * longest
        if fits and (not equal or lengths[at] == longest):
            batches[-1].append(at)
        else:
            batches.append([at])
    return batches


def padded(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> int:
    """Samples that the model is given in all: each batch as long as its longest item."""
    return sum(len(batch) * max(lengths[at] for at in batch) for batch in batches)


def pad(sounds: Sequence[Floats]) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Sounds -> (batch [n, longest], zeros behind the shorter ones; their lengths [n])."""
    lengths = np.array([len(sound) for sound in sounds], np.int64)
    batch = np.zeros((len(sounds), int(lengths.max(initial=0))), np.float32)
    for row, sound in enumerate(sounds):
        batch[row, : len(sound)] = sound
    return batch, lengths


@dataclass
class Answers(Generic[T]):
    """``values``: one per row of the batch, None where the row is among ``rejects``."""

    values: list[T | None]
    rejects: list[Reject] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)


class Batcher:
    """Runs one model over the rows of one ``process`` call after another; remembers what fits in memory.

    Args:
        name: of the model, for the one message when memory runs out.
        batch_seconds: audio seconds per model batch, padding included.
        equal: see ``plan``.
    """

    def __init__(self, name: str, batch_seconds: float, *, equal: bool = False) -> None:
        self.name, self.equal = name, equal
        self.room = Room(name, batch_seconds)

    @property
    def seconds(self) -> float:
        return self.room.seconds

    def run(
        self, audio: pa.ChunkedArray, seconds: Sequence[float | None], forward: Callable[[list[Floats]], Sequence[T]],
        rows: Sequence[int] | None = None,
    ) -> Answers[T]:  # fmt: skip
        """``forward`` over the sound of every row (or of ``rows`` only), the next batch decoded meanwhile.

        A row that cannot be decoded, or on which ``forward`` fails alone, becomes a reject with its error; its
        neighbours do not.

        Args:
            audio: FLAC bytes; ``seconds``: their durations, from which batches are planned.
            forward: sounds (float32 [samples], 16 kHz) -> as many answers, in order.

        Raises:
            Whatever ``forward`` raises when not a single row passes: then the model is at fault, not the rows.
            EnvironmentFault: one row alone does not fit in memory.
        """
        if "torch" in sys.modules:
            settle_threads()
        wanted = list(range(len(audio))) if rows is None else list(rows)
        lengths = [round((seconds[row] or 0.0) * SAMPLE_RATE) for row in wanted]
        batches = plan(lengths, int(self.seconds * SAMPLE_RATE), equal=self.equal)
        answers: Answers[T] = Answers([None] * len(audio))
        failures: list[Exception] = []
        passed = heard = given = 0
        for batch, sounds in ahead([[wanted[at] for at in batch] for batch in batches], audio):
            good = [row for row in batch if not isinstance(sounds[row], RowError)]
            for row in batch:
                error = sounds[row]
                if isinstance(error, RowError):
                    answers.rejects.append(Reject(row, error.error_class, error.message))
            found = self._forward({row: sounds[row] for row in good}, forward)  # type: ignore[misc]
            for row, (answer, failure) in found.items():
                if failure is None:
                    answers.values[row] = answer
                    passed += 1
                else:
                    failures.append(failure)
                    kind = failure.error_class if isinstance(failure, RowError) else type(failure).__name__
                    answers.rejects.append(Reject(row, kind, str(failure)))
            sizes = [len(sounds[row]) for row in good]  # type: ignore[arg-type]
            heard += sum(sizes)
            given += len(sizes) * max(sizes, default=0)
        blameless = [error for error in failures if not isinstance(error, RowError)]
        if blameless and not passed:
            raise blameless[0]
        answers.rejects.sort(key=lambda reject: reject.row)
        answers.metrics = {"audio_s": heard / SAMPLE_RATE, "padded_s": given / SAMPLE_RATE}
        return answers

    def _forward(
        self, sounds: dict[int, Floats], forward: Callable[[list[Floats]], Sequence[T]]
    ) -> dict[int, tuple[T | None, Exception | None]]:
        """Answers by row. Halves what does not fit in memory and what fails, down to single rows."""
        found: dict[int, tuple[T | None, Exception | None]] = {}

        def work(rows: Sequence[int]) -> None:
            answers = list(forward([sounds[row] for row in rows]))
            if len(answers) != len(rows):
                raise RuntimeError(f"{self.name} gave {len(answers)} answers for {len(rows)} clips")
            found.update((row, (answer, None)) for row, answer in zip(rows, answers, strict=True))

        def failed(rows: Sequence[int], error: Exception) -> None:
            if isinstance(error, DatagenError) and not isinstance(error, RowError):
                raise error
            if out_of_memory(error):
                self.room.shrink(len(rows), max(len(sounds[row]) for row in rows) / SAMPLE_RATE, error)
            elif len(rows) == 1:
                found[rows[0]] = (None, error)

        halving([list(sounds)] if sounds else [], work, failed)
        return found


def halving(
    batches: Iterable[Sequence[int]],
    work: Callable[[Sequence[int]], None],
    failed: Callable[[Sequence[int], Exception], None],
) -> None:
    """``work`` on each batch and, where it fails, on its halves, down to single items.

    Args:
        batches: taken one at a time, so that later ones may be smaller.
        failed: told of every failure; raises where halves are of no use.
    """
    for batch in batches:
        todo = [batch]
        while todo:
            some = todo.pop()
            try:
                work(some)
            except Exception as error:
                failed(some, error)
                if len(some) > 1:
                    half = (len(some) + 1) // 2
                    todo += [some[half:], some[:half]]


class Room:
    """``seconds`` of audio that a model is given at once: fewer when memory runs out, which is said once."""

    def __init__(self, name: str, seconds: float) -> None:
        self.name, self.seconds = name, seconds
        self._said = False

    def shrink(self, count: int, longest_s: float, error: Exception) -> None:
        """``count`` items of up to ``longest_s`` did not fit: from now on half as much.

        Raises:
            EnvironmentFault: it was one item, and cannot be halved.
        """
        if count == 1:
            raise EnvironmentFault(
                f"{self.name}: {longest_s:.1f} s of audio alone do not fit in the device's memory; give the stage a "
                "larger share (resources.gpus), a smaller model, or device: cpu"
            ) from error
        self.seconds = (count + 1) // 2 * longest_s
        empty_cache()
        if not self._said:
            self._said = True
            _log.warning(
                "%s: out of memory with %d sounds of up to %.1f s; going on with %.0f s per batch. Set batch_seconds "
                "to that to be spared this",
                self.name, count, longest_s, self.seconds,
            )  # fmt: skip


def out_of_memory(error: BaseException) -> bool:
    """Whether this is torch or CTranslate2 running out of device (or host) memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def empty_cache() -> None:
    """Hand cached blocks of the GPU back; nothing happens where torch or a GPU is not in use."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def ahead(
    batches: Sequence[Sequence[int]], audio: pa.ChunkedArray
) -> Iterator[tuple[Sequence[int], dict[int, Floats | RowError]]]:
    """Each batch of rows with their sounds, the batch after it being decoded by a thread meanwhile."""

    def load(batch: Sequence[int]) -> dict[int, Floats | RowError]:
        return {row: _decode(audio[row]) for row in batch}

    with ThreadPoolExecutor(1, thread_name_prefix="decode") as thread:
        waiting: deque[tuple[Sequence[int], Future[dict[int, Floats | RowError]]]] = deque()
        for batch in batches:
            waiting.append((batch, thread.submit(load, batch)))
            if len(waiting) > 1:
                ready, sounds = waiting.popleft()
                yield ready, sounds.result()
        while waiting:
            ready, sounds = waiting.popleft()
            yield ready, sounds.result()


def _decode(encoded: pa.Scalar) -> Floats | RowError:
    try:
        return decode_flac(encoded.as_py())
    except RowError as error:
        return error
