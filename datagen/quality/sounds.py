"""Which of many clips may be copies of one recording, and who leads each group of copies: numpy, no files.

Every clip gives at most ``KEYS`` keys. A key is made of two find words that stand a fixed number of frames apart
(``quality/fingerprint.py``), without their highest bands, which codecs change most. One such word recurs in any corpus;
two of them together were equal by chance once in 2^31 among a thousand takes of the same few sentences. Of a clip with
more keys those with the smallest hashes are kept (bottom-k sampling, Cohen & Kaplan, "Summarizing data using bottom-k
sketches", PODC 2007), so that copies keep the same ones and a long clip costs no more than a short one.

Whoever shares a key with others gets two of them as candidates, the most preferred and the next, and is compared with
four at most, so that ten thousand copies of a jingle cost thirty thousand comparisons, not fifty million. What those
leave open is completed by ``leaders``: everybody who hangs together is compared with one leader after the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datagen.quality.components import components
from datagen.quality.fingerprint import Prints, sounding, tell

KEYS = 256  #: most keys of a clip
STEPS = (8, 16)  #: frames between a key's two words; the second only where the first gives too few keys
MIN_SHARED = 2  #: keys that two clips must share: in millions of clips any one is shared by chance
STOP_WORD = 100_000  #: a key that more clips share than this is a hum or a jingle before every clip, and says nothing
CHANCE = 2.0**-31  #: that two keys of unlike recordings are equal, as measured on 1.2 h of speech
CANDIDATES = 2  #: more preferred clips that a clip is compared with: so many by preference, so many by shared keys
PATIENCE = 16  #: leaders tried on a whole component before what is left of it is taken apart

KEY_BITS = 48
_WORD_BITS = 20  # of a find word, the lower bands
_FRAMES_AT_ONCE = 1 << 20  # frames whose keys are made at a time: bounds memory, changes nothing else
_ROWS_AT_ONCE = 1 << 16  # a row's number stands beside the key in one integer
_UNSOUNDING = np.uint64((1 << 16) - 1)

Words = npt.NDArray[np.uint64]
Clips = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
#: ``compare(leader, others)``: which of the others are the same recording as the leader.
Compare = Callable[[int, Sequence[int]], Sequence[bool] | Bools]


def runs(column: pa.ChunkedArray) -> Iterator[tuple[int, Prints, Clips]]:
    """A column of packed fingerprints in runs of rows: first row, ``(frames, 2)`` of all of them, frames of each.

    Raises:
        ValueError: bytes that are no fingerprint.
    """
    at = 0
    for chunk in column.chunks:
        kind = np.int64 if pa.types.is_large_binary(chunk.type) else np.int32
        start = chunk.offset
        offsets = np.frombuffer(chunk.buffers()[1], kind)[start : start + len(chunk) + 1].astype(np.int64)
        values = np.frombuffer(chunk.buffers()[2] or b"", np.uint8)
        if np.any(offsets % 8 != offsets[0] % 8):
            raise ValueError("a fingerprint has 8 bytes per 10 ms; this column holds something else")
        first = 0
        while first < len(chunk):
            end = int(np.searchsorted(offsets, offsets[first] + 8 * _FRAMES_AT_ONCE, "right")) - 1
            end = min(max(end, first + 1), first + _ROWS_AT_ONCE, len(chunk))
            flat = values[offsets[first] : offsets[end]].view("<u4").reshape(-1, 2)
            yield at + first, flat, np.diff(offsets[first : end + 1]) // 8
            first = end
        at += len(chunk)


def keys(prints: Prints, frames: Clips) -> tuple[Words, Clips]:
    """Keys of consecutive clips -> (key, row) of each posting, rows ascending, no key twice in a row.

    Args:
        prints: ``(frames, 2)`` of all rows together.
        frames: how many of them each row has; at most 65,536 rows.
    """
    row = np.repeat(np.arange(len(frames), dtype=np.uint64), frames)
    word = (prints[:, 0] & np.uint32((1 << _WORD_BITS) - 1)).astype(np.uint64)
    useful = tell(prints)
    room = np.full(len(frames), KEYS)
    found = []
    for step in STEPS:
        both = useful[step:] & useful[:-step] & (row[step:] == row[:-step])
        if step != STEPS[0]:
            both &= room[row[step:].astype(np.int64)] > 0
        at = np.flatnonzero(both)
        pair = word[at] << np.uint64(_WORD_BITS) | word[at + step]
        entries = np.sort(row[at] << np.uint64(KEY_BITS) | _mixed(pair, step))
        entries = entries[np.diff(entries, prepend=np.uint64(2**64 - 1)) != 0]
        of = (entries >> np.uint64(KEY_BITS)).astype(np.int64)
        rank = np.arange(len(of)) - np.searchsorted(of, np.arange(len(frames)))[of]
        entries = entries[rank < room[of]]
        found.append(entries)
        room -= np.bincount((entries >> np.uint64(KEY_BITS)).astype(np.int64), minlength=len(frames))
    every = np.concatenate(found)
    every.sort()
    return every & np.uint64((1 << KEY_BITS) - 1), (every >> np.uint64(KEY_BITS)).astype(np.int64)


def _mixed(pair: Words, step: int) -> Words:
    """48 evenly spread bits of a pair of words (the finaliser of MurmurHash3, Appleby 2011)."""
    value = pair ^ np.uint64(step << KEY_BITS)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return (value ^ (value >> np.uint64(33))) >> np.uint64(64 - KEY_BITS)


def sounding_frames(prints: Prints, frames: Clips) -> Clips:
    """How many frames of each row sound."""
    row = np.repeat(np.arange(len(frames)), frames)
    return np.bincount(row[sounding(prints)], minlength=len(frames))


def preferences(sounding_of: Clips, clip_ids: Sequence[str]) -> Words:
    """A number per clip, smaller = preferred as a leader: more sounding frames, then by a hash of ``clip_id``."""
    longest = _UNSOUNDING - np.minimum(sounding_of, int(_UNSOUNDING)).astype(np.uint64)
    ties = (hashlib.blake2b(clip_id.encode(), digest_size=6).digest() for clip_id in clip_ids)
    tie = np.array([int.from_bytes(digest, "little") for digest in ties], np.uint64)
    return np.asarray(longest << np.uint64(48) | tie)


def shared(key: Words) -> Clips:
    """Indices of the postings whose key another one has too, in order of the key."""
    order = np.argsort(key, kind="stable")
    sorted_key = key[order]
    same = sorted_key[1:] == sorted_key[:-1]
    edge = np.zeros(min(1, len(key)), bool)
    return np.asarray(order[np.concatenate([edge, same]) | np.concatenate([same, edge])])


def edges(key: Words, clip: Clips, preference: Words) -> tuple[Words, int]:
    """Postings of shared keys -> sorted pairs ``member << 32 | more preferred clip``, one per key that they share.

    Each list is a star round its most preferred clip, and a chain. Returns also how many lists were stop words.
    """
    if not len(key):
        return np.zeros(0, np.uint64), 0
    order = np.lexsort((preference, key))
    key, clip = key[order], clip[order].astype(np.uint64)
    starts = np.flatnonzero(np.diff(key, prepend=~key[0]) != 0)
    lengths = np.diff(np.append(starts, len(key)))
    leader = np.repeat(starts, lengths)
    place = np.arange(len(key)) - leader
    telling = np.repeat(lengths <= STOP_WORD, lengths)
    star, chain = telling & (place > 0), telling & (place > 1)
    before = np.flatnonzero(chain) - 1
    pairs = np.concatenate(
        [clip[star] << np.uint64(32) | clip[leader[star]], clip[chain] << np.uint64(32) | clip[before]]
    )
    pairs.sort()
    return pairs, int((lengths > STOP_WORD).sum())


def counted(pairs: Words) -> tuple[Clips, Clips, Clips]:
    """Pairs of ``edges``, in any order -> member, leader and shared keys of those that share enough; sorted."""
    pair, votes = np.unique(pairs, return_counts=True)
    enough = votes >= MIN_SHARED
    pair = pair[enough]
    low = np.uint64((1 << 32) - 1)
    return (pair >> np.uint64(32)).astype(np.int64), (pair & low).astype(np.int64), votes[enough].astype(np.int64)


def chosen(member: Clips, votes: Clips, leader_preference: Words) -> Bools:
    """Which candidates are compared: of each member the most preferred and those that share most keys with it."""
    keep = np.zeros(len(member), bool)
    for first, then in ((leader_preference, -votes), (-votes, leader_preference)):
        order = np.lexsort((then, first, member))
        own = member[order]
        keep[order[np.arange(len(own)) - np.searchsorted(own, own) < CANDIDATES]] = True
    return keep


def leaders(clips: Sequence[int], links: Iterable[tuple[int, int]], compare: Compare) -> dict[int, int]:
    """Clip -> leader for all that have a leader or lead somebody, within what hangs together.

    The most preferred clip leads all that are the same recording as it; the most preferred of the others leads its
    own, and so on. After ``PATIENCE`` leaders what is left falls into what is still linked, so that a chain of
    excerpts, each over the next, costs little more than its length.

    Args:
        clips: the preferred first.
        links: pairs known to be the same recording.
        compare: asked about pairs that are not linked.
    """
    known: dict[int, set[int]] = {clip: set() for clip in clips}
    for left, right in links:
        known[left].add(right)
        known[right].add(left)
    led: dict[int, int] = {}
    pending = [list(clips)]
    while pending:
        rest = pending.pop()
        for _ in range(PATIENCE):
            if len(rest) < 2:
                break
            leader, others = rest[0], rest[1:]
            unknown = [clip for clip in others if clip not in known[leader]]
            same = known[leader].intersection(others)
            if unknown:
                same.update(clip for clip, is_same in zip(unknown, compare(leader, unknown), strict=True) if is_same)
            if same:
                led |= dict.fromkeys((leader, *same), leader)
            rest = [clip for clip in others if clip not in same]
        pending += _parts(rest, known)
    return led


def _parts(clips: Sequence[int], known: dict[int, set[int]]) -> list[list[int]]:
    """What still hangs together, each part in the given order; clips without a link are left out."""
    number = {clip: place for place, clip in enumerate(clips)}
    linked = [(place, number[other]) for clip, place in number.items() for other in known[clip] if other in number]
    label = components(len(clips), np.array(linked, np.int64).reshape(-1, 2))
    parts: dict[int, list[int]] = {}
    for clip, part in zip(clips, label.tolist(), strict=True):
        parts.setdefault(part, []).append(clip)
    return [part for part in parts.values() if len(part) > 1]
