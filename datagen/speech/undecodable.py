"""What a file is that does not decode: a sentence for the person who has to mend it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datagen.errors import RowError

#: First bytes of what is certainly a container, at offset 0 (``ftyp`` of MP4 is at 4).
_MAGIC = (
    b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd", b"NIST_1A", b"caff", b"#!AMR",
    b"\x1aE\xdf\xa3", b"wvpk", b"MAC ", b"Creative Voice File", b"\x30\x26\xb2\x75", b"FLV",
)  # fmt: skip
_RAW_SUFFIXES = frozenset({".pcm", ".raw", ".s16", ".s16le", ".sw", ".l16", ".ul", ".al"})


def refuse_what_cannot_be(head: bytes, name: str) -> None:
    """Before any decoder sees it: what is known not to be audio, and what a decoder might mistake for audio."""
    if not head:
        raise RowError("EmptyFile", "the file has zero bytes: copy it again")
    if head.startswith(b"version https://git-lfs"):
        raise RowError("GitLfsPointer", "a Git LFS pointer, not the audio: run `git lfs pull` in the corpus")
    if len(head) < 1024 and b"annex/objects/" in head:
        raise RowError("GitLfsPointer", "a git-annex pointer, not the audio: run `git annex get` in the corpus")
    if Path(name).suffix.lower() in _RAW_SUFFIXES and not _known(head):
        raise _headerless(name)


def is_mpeg(head: bytes) -> bool:
    """MPEG audio is left to FFmpeg: libsndfile stops where the Xing header says, and its mpg123 writes every
    oddity of a file to stderr."""
    return head.startswith(b"ID3") or (head[0] == 0xFF and len(head) > 1 and head[1] >= 0xE0)


def _known(head: bytes) -> bool:
    return head.startswith(_MAGIC) or head[4:8] == b"ftyp" or is_mpeg(head)


def _headerless(name: str) -> RowError:
    shown = Path(name).name or "FILE"
    return RowError(
        "HeaderlessPcm",
        "raw samples without a header; say what they are and add one, for instance "
        f"`sox -t raw -r 16000 -e signed -b 16 -c 1 {shown} out.wav`",
    )


def nothing_decodes(head: bytes, middle: bytes, name: str, decoder_says: str) -> RowError:
    """The refusal of a file with these first bytes and these from its middle."""
    if _known(head):
        return RowError("Undecodable", f"begins like audio, but nothing in it decodes ({_one_line(decoder_says)})")
    if Path(name).suffix.lower() in {".wav", ".wave"} and _looks_like_pcm(middle):
        return _headerless(name)
    kind = "text" if _is_text(head) else "no known audio format"
    return RowError("NotAudio", f"not audio: {kind}, beginning {head[:16]!r}")


def _is_text(head: bytes) -> bool:
    return not any(byte < 9 or 13 < byte < 32 for byte in head[:512])


def _looks_like_pcm(data: bytes) -> bool:
    """Neighbouring samples of sound resemble each other; the bytes of ciphers and archives do not.

    Lag one for one channel, lag two for two interleaved ones; 16 bit little endian, the usual raw format.
    """
    if _is_text(data) or len(data) < 512:
        return False
    samples = np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(np.float64)
    samples -= samples.mean()
    power = float(np.dot(samples, samples))
    alike = max(float(np.dot(samples[lag:], samples[:-lag])) for lag in (1, 2))
    return power > 0 and alike / power > 0.4


def _one_line(text: str, most: int = 120) -> str:
    return " ".join(text.split())[:most]
