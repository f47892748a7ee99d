"""Small trees laid out like the usual corpora, with known labels: to test readers and recipes without the corpora.

    expected = LAYOUTS["ravdess"](tmp_path)

writes a tree and returns, per source URI, what a reader must find: ``{"facts": {field: value}, "split": ...,
"spans": [((channel, start, end), {field: value})]}``. Every file holds a short tone of its own, so that no two are
equal. None of it comes from the corpora themselves.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

Expected = dict[str, dict[str, Any]]


def tone(number: int, seconds: float = 0.3, rate: int = 16_000, channels: int = 1) -> npt.NDArray[np.float32]:
    """[frames, channels]: a sine of its own pitch per number and channel, at -12 dBFS."""
    time = np.arange(round(seconds * rate)) / rate
    pitches = [110 * 2 ** ((number + 7 * channel) % 48 / 12) for channel in range(channels)]
    return np.stack([0.25 * np.sin(2 * np.pi * pitch * time) for pitch in pitches], axis=1).astype(np.float32)


def encoded(
    samples: npt.NDArray[np.float32], rate: int = 16_000, format: str = "WAV", subtype: str = "PCM_16"
) -> bytes:
    """The samples as a file of libsndfile's ``format`` and ``subtype``."""
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=format, subtype=subtype)
    return out.getvalue()


class _Tree:
    """Writes files of a layout and collects what is to be expected of them."""

    def __init__(self, root: Path, seconds: float = 0.3, rate: int = 16_000) -> None:
        self.root, self.seconds, self.rate = root, seconds, rate
        self.expected: Expected = {}

    def audio(
        self,
        uri: str,
        facts: dict[str, str] | None = None,
        *,
        split: str | None = None,
        channels: int = 1,
        spans: Sequence[tuple[tuple[Any, Any, Any], dict[str, str]]] = (),
        seconds: float | None = None,
    ) -> None:
        samples = tone(len(self.expected), seconds or self.seconds, self.rate, channels)
        path = self.root / uri
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(samples, self.rate, "FLAC" if uri.endswith(".flac") else "WAV"))
        self.expected[uri] = {"facts": facts or {}, "split": split, "spans": list(spans)}

    def text(self, uri: str, text: str, encoding: str = "utf-8") -> None:
        path = self.root / uri
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode(encoding))

    def table(self, uri: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        out = io.StringIO()
        csv.writer(out).writerows([header, *rows])
        self.text(uri, out.getvalue())


def ravdess(root: Path) -> Expected:
    tree = _Tree(root, rate=48_000)
    emotions = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
    for actor in (1, 2):
        for code, emotion in enumerate(emotions, start=1):
            for intensity in (1,) if code == 1 else (1, 2):
                facts = {
                    "emotion": emotion,
                    "speaker": f"{actor:02}",
                    "sex": "male" if actor % 2 else "female",
                    "transcript": "Dogs are sitting by the door.",
                    "style": "acted",
                    "language": "en",
                }
                if code > 1:
                    facts["intensity"] = "strong" if intensity == 2 else "normal"
                tree.audio(f"Actor_{actor:02}/03-01-{code:02}-{intensity:02}-02-01-{actor:02}.wav", facts)
    tree.audio(
        "Actor_01/03-02-03-01-01-01-01.wav",
        {
            "emotion": "happy",
            "intensity": "normal",
            "speaker": "01",
            "sex": "male",
            "style": "sung",
            "language": "en",
            "transcript": "Kids are talking by the door.",
        },
    )
    return tree.expected


def emodb(root: Path) -> Expected:
    tree = _Tree(root)
    names = {
        "W": "anger",
        "L": "boredom",
        "E": "disgust",
        "A": "fear",
        "F": "happiness",
        "T": "sadness",
        "N": "neutral",
    }
    for speaker, sex, age in (("03", "male", "31.0"), ("16", "female", "31.0")):
        for code, emotion in names.items():
            facts = {
                "emotion": emotion,
                "speaker": speaker,
                "sex": sex,
                "age_years": age,
                "style": "acted",
                "language": "de",
                "transcript": "Der Lappen liegt auf dem Eisschrank.",
            }
            tree.audio(f"wav/{speaker}a01{code}a.wav", facts)
    return tree.expected


def cremad(root: Path) -> Expected:
    tree = _Tree(root)
    for code, level in (("ANG", "XX"), ("SAD", "HI"), ("NEU", "XX"), ("FEA", "LO")):
        facts = {
            "emotion": code,
            "speaker": "1001",
            "sex": "male",
            "age_years": "51.0",
            "transcript": "Don't forget a jacket.",
            "style": "acted",
            "language": "en",
        }
        if level != "XX":
            facts["intensity"] = {"HI": "high", "LO": "low"}[level]
        if code == "SAD":
            facts["emotion_heard"] = "N"
        tree.audio(f"AudioWAV/1001_DFA_{code}_{level}.wav", facts)
    tree.table(
        "VideoDemographics.csv", ["ActorID", "Age", "Sex", "Race", "Ethnicity"], [["1001", 51, "Male", "Caucasian", ""]]
    )
    tree.table(
        "processedResults/summaryTable.csv",
        ["", "FileName", "VoiceVote", "VoiceLevel", "MultiModalVote"],
        [["1", "1001_DFA_SAD_HI", "N", "60.5", "S"]],
    )
    return tree.expected


_IEMOCAP_TURNS = (
    (
        "Ses01F_impro01_F000",
        0.1,
        0.4,
        "neu",
        (2.5, 3.0, 3.5),
        "Excuse me.",
        {"valence": "0.375", "arousal": "0.5", "dominance": "0.625"},
    ),
    (
        "Ses01F_impro01_M000",
        0.5,
        0.9,
        "xxx",
        (1.0, 5.0, 3.0),
        "Do you have your forms?",
        {"valence": "0.0", "arousal": "1.0", "dominance": "0.5"},
    ),
)


def _iemocap_labels(tree: _Tree) -> None:
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for turn, start, end, code, vad, _, _ in _IEMOCAP_TURNS:
        lines += [
            f"[{start:.4f} - {end:.4f}]\t{turn}\t{code}\t[{', '.join(f'{value:.4f}' for value in vad)}]",
            "C-E2:\tNeutral state;\t()",
            "C-F1:\tNeutral state;\t(curious)",
            "A-E3:\tval 3; act 2; dom  2;\t()",
            "",
        ]
    tree.text("Session1/dialog/EmoEvaluation/Ses01F_impro01.txt", "\n".join(lines))
    tree.text(
        "Session1/dialog/transcriptions/Ses01F_impro01.txt",
        "".join(f"{turn} [{start:08.4f}-{end:08.4f}]: {text}\n" for turn, start, end, _, _, text, _ in _IEMOCAP_TURNS),
    )


def _iemocap_facts(turn: str, code: str, text: str, dimensions: dict[str, str]) -> dict[str, str]:
    letter = turn.rsplit("_", 1)[1][0]
    return {
        "emotion": code,
        "transcript": text,
        "speaker": f"Ses01{letter}",
        "style": "improvised",
        "sex": "female" if letter == "F" else "male",
        **dimensions,
    }


def iemocap(root: Path) -> Expected:
    """With the turns cut into files."""
    tree = _Tree(root)
    _iemocap_labels(tree)
    for turn, _, _, code, _, text, dimensions in _IEMOCAP_TURNS:
        facts = {**_iemocap_facts(turn, code, text, dimensions), "language": "en"}
        tree.audio(f"Session1/sentences/wav/Ses01F_impro01/{turn}.wav", facts)
    return tree.expected


def iemocap_dialogs(root: Path) -> Expected:
    """With whole dialogues only; turns are stretches of them."""
    tree = _Tree(root)
    _iemocap_labels(tree)
    spans = [
        ((None, start, end), _iemocap_facts(turn, code, text, dims))
        for turn, start, end, code, _, text, dims in _IEMOCAP_TURNS
    ]
    tree.audio("Session1/dialog/wav/Ses01F_impro01.wav", {"language": "en"}, spans=spans, channels=2, seconds=1.0)
    return tree.expected


def meld(root: Path) -> Expected:
    """The same name in all three splits; an apostrophe that went through two encodings."""
    tree = _Tree(root)
    header = [
        "Sr No.",
        "Utterance",
        "Speaker",
        "Emotion",
        "Sentiment",
        "Dialogue_ID",
        "Utterance_ID",
        "Season",
        "Episode",
        "StartTime",
        "EndTime",
    ]
    folders = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
    said = {
        "train": ("Youâ€™re late", "You’re late", "joy", "Chandler", "male"),
        "dev": ("You\x92re early", "You’re early", "anger", "Monica", "female"),
        "test": ("I am here", "I am here", "neutral", "Gunther", None),
    }
    for split, (raw, text, emotion, speaker, sex) in said.items():
        times = ["0", "0", "1", "1", "00:16:16,059", "00:16:21,731"]
        tree.table(f"{split}_sent_emo.csv", header, [["1", raw, speaker, emotion, "neutral", *times]])
        facts = {"transcript": text, "emotion": emotion, "speaker": speaker, "style": "acted", "language": "en"}
        if sex:
            facts["sex"] = sex
        tree.audio(f"{folders[split]}/dia0_utt0.wav", facts, split={"dev": "validation"}.get(split, split))
    return tree.expected


def msp_podcast(root: Path) -> Expected:
    tree = _Tree(root)
    header = ["FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set"]
    labels = [
        ["MSP-PODCAST_0001_0008.wav", "A", "6.4", "2.2", "5.8", "127", "Male", "Train"],
        ["MSP-PODCAST_0002_0039.wav", "X", "4.0", "4.0", "1.0", "Unknown", "Unknown", "Development"],
        ["MSP-PODCAST_0003_0001.wav", "H", "7.0", "7.0", "7.0", "8", "Female", "Test1"],
    ]
    tree.table("Labels/labels_consensus.csv", header, labels)
    tree.text("Transcripts/MSP-PODCAST_0001_0008.txt", "get out\n")
    common = {"style": "spontaneous", "language": "en"}
    tree.audio(
        "Audios/MSP-PODCAST_0001_0008.wav",
        {
            "emotion": "A",
            "arousal": "0.9",
            "valence": "0.2",
            "dominance": "0.8",
            "speaker": "127",
            "sex": "male",
            "transcript": "get out",
            **common,
        },
        split="train",
    )
    tree.audio(
        "Audios/MSP-PODCAST_0002_0039.wav",
        {"emotion": "X", "arousal": "0.5", "valence": "0.5", "dominance": "0.0", **common},
        split="validation",
    )
    tree.audio(
        "Audios/MSP-PODCAST_0003_0001.wav",
        {
            "emotion": "H",
            "arousal": "1.0",
            "valence": "1.0",
            "dominance": "1.0",
            "speaker": "8",
            "sex": "female",
            **common,
        },
        split="test",
    )
    return tree.expected


def esd(root: Path) -> Expected:
    """A Chinese and an English speaker, their texts in GB 18030, UTF-16 and UTF-8."""
    tree = _Tree(root)
    texts = {
        "0001": ("打远一看，它们的确很是美丽，", "gb18030", "zh", "female"),
        "0011": ("The nine the eggs, I keep.", "utf-16", "en", "male"),
        "0015": ("Clear than clear water!", "utf-8", "en", "female"),
    }
    for speaker, (text, encoding, lang, sex) in texts.items():
        tree.text(
            f"{speaker}/{speaker}.txt",
            f"{speaker}_000001\t{text}\tNeutral\n{speaker}_000351\t{text}\tAngry\n",
            encoding,
        )
        for emotion, number, folder, split in (("Neutral", 1, "evaluation/", "validation"), ("Angry", 351, "", None)):
            facts = {
                "emotion": emotion,
                "transcript": text,
                "speaker": speaker,
                "sex": sex,
                "language": lang,
                "style": "acted",
            }
            tree.audio(f"{speaker}/{emotion}/{folder}{speaker}_{number:06}.wav", facts, split=split)
    return tree.expected


def expresso(root: Path) -> Expected:
    tree = _Tree(root)
    tree.text("read_transcriptions.txt", "ex01_happy_00001\tWhat a day.\n")
    tree.text("splits/dev.txt", "ex01_happy_00001\n")
    tree.text("splits/test.txt", "ex04-ex01_laughing_001\t(0.00, 60.00)\n")
    tree.audio(
        "audio_48khz/read/ex01/happy/base/ex01_happy_00001.wav",
        {"speaker": "ex01", "style": "happy", "transcript": "What a day.", "language": "en"},
        split="validation",
    )
    for folder, styles in (("laughing", ("laughing", "laughing")), ("animal-animaldir", ("animal", "animaldir"))):
        spans = [
            ((channel, None, None), {"speaker": speaker, "style": style})
            for channel, (speaker, style) in enumerate(zip(("ex04", "ex01"), styles, strict=True))
        ]
        tree.audio(
            f"audio_48khz/conversational/ex04-ex01/{folder}/ex04-ex01_{folder}_001.wav",
            {"language": "en"},
            spans=spans,
            channels=2,
        )
    return tree.expected


def librispeech(root: Path) -> Expected:
    tree = _Tree(root)
    tree.text(
        "SPEAKERS.TXT",
        ";ID  |SEX| SUBSET           |MINUTES| NAME\n14   | F | train-clean-360  | 25.03 | Kristin\n"
        "1688 | M | test-other       |  8.00 | Somebody\n",
    )
    for speaker, sex, subset, split in (
        ("14", "female", "train-clean-360", "train"),
        ("1688", "male", "test-other", "test"),
    ):
        folder = f"{subset}/{speaker}/208"
        lines = []
        for number in range(2):
            name = f"{speaker}-208-{number:04}"
            text = f"SENTENCE NUMBER {'ONE' if number else 'NOUGHT'}"
            lines.append(f"{name} {text}\n")
            facts = {"transcript": text, "speaker": speaker, "sex": sex, "style": "read", "language": "en"}
            tree.audio(f"{folder}/{name}.flac", facts, split=split)
        tree.text(f"{folder}/{speaker}-208.trans.txt", "".join(lines))
    return tree.expected


def audformat(root: Path) -> Expected:
    """A file-wise table in CSV, a segmented one in Parquet, a scheme with a scale, speakers with attributes."""
    tree = _Tree(root)
    tree.text(
        "db.yaml",
        """\
name: example
source: nowhere
usage: research
languages: [deu]
license: CC-BY-4.0
splits:
  dev: {type: dev}
schemes:
  emotion: {dtype: str, labels: [anger, neutral]}
  speaker: {dtype: str, labels: {s1: {gender: female, age: 31}, s2: {gender: male}}}
  valence: {dtype: float, minimum: 1, maximum: 5}
  loudness: {dtype: float}
tables:
  files:
    type: filewise
    split_id: dev
    columns:
      emotion: {scheme_id: emotion}
      speaker: {scheme_id: speaker}
      loudness: {scheme_id: loudness}
  turns:
    type: segmented
    columns:
      emotion: {scheme_id: emotion}
      valence: {scheme_id: valence}
""",
    )
    tree.text("db.files.csv", "file,emotion,speaker,loudness\naudio/a.wav,anger,s1,60.5\naudio/b.wav,neutral,s2,\n")
    turns = pa.table(
        {
            "file": ["audio/a.wav", "audio/c.wav", "audio/c.wav"],
            "start": pa.array([0, 0, 500_000_000], pa.duration("ns")),
            "end": pa.array([None, 500_000_000, None], pa.duration("ns")),
            "emotion": ["anger", "neutral", "anger"],
            "valence": [2.0, 5.0, None],
        }
    )
    pq.write_table(turns, root / "db.turns.parquet")
    tree.audio(
        "audio/a.wav",
        {
            "emotion": "anger",
            "speaker": "s1",
            "sex": "female",
            "age_years": "31.0",
            "valence": "0.25",
            "language": "de",
        },
        split="validation",
    )
    tree.audio(
        "audio/b.wav", {"emotion": "neutral", "speaker": "s2", "sex": "male", "language": "de"}, split="validation"
    )
    tree.audio(
        "audio/c.wav",
        {"language": "de"},
        seconds=1.0,
        spans=[((None, 0.0, 0.5), {"emotion": "neutral", "valence": "1.0"}), ((None, 0.5, None), {"emotion": "anger"})],
    )
    return tree.expected


def audiofolder(root: Path) -> Expected:
    """``metadata.jsonl`` in a subfolder, and a file it does not name."""
    tree = _Tree(root)
    tree.text(
        "train/metadata.jsonl",
        "".join(
            json.dumps(row) + "\n"
            for row in (
                {"file_name": "a.wav", "text": "hello", "emotion": "happy", "gender": "F", "session": 3},
                {"file_name": "sub/b.wav", "text": "good bye", "emotion": "sad", "gender": "male", "session": None},
            )
        ),
    )
    tree.audio("train/a.wav", {"transcript": "hello", "emotion": "happy", "sex": "female"})
    tree.audio("train/sub/b.wav", {"transcript": "good bye", "emotion": "sad", "sex": "male"})
    tree.audio("train/unnamed.wav")
    return tree.expected


def manifest(root: Path) -> Expected:
    """Rows about stretches of one file, another about all of one, in semicolon-separated CSV."""
    tree = _Tree(root)
    tree.text(
        "list.csv",
        "\ufeffpath;start;end;channel;emotion;text;split\nwav/d.wav;0.0;0.5;0;angry;Nein!;train\n"
        "wav/d.wav;0.5;0.9;1;sad;Doch.;train\nwav/e.wav;;;;;Oh;dev\n",
    )
    tree.audio(
        "wav/d.wav",
        spans=[
            ((0, 0.0, 0.5), {"emotion": "angry", "transcript": "Nein!"}),
            ((1, 0.5, 0.9), {"emotion": "sad", "transcript": "Doch."}),
        ],
        channels=2,
        seconds=1.0,
        split="train",
    )
    tree.audio("wav/e.wav", {"transcript": "Oh"}, split="validation")
    return tree.expected


def webdataset(root: Path) -> Expected:
    """Two shards; sidecars in JSON and as text."""
    expected: Expected = {}
    root.mkdir(parents=True, exist_ok=True)
    for shard in range(2):
        with tarfile.open(root / f"shard-{shard:05}.tar", "w") as archive:
            for number in range(3):
                key = f"{shard}{number}"
                about = {"text": f"words {key}", "emotion": "happy" if number else "sad", "take": number}
                members = [(f"{key}.flac", encoded(tone(10 * shard + number), format="FLAC"))]
                members.append(
                    (f"{key}.json", json.dumps(about).encode()) if number < 2 else (f"{key}.txt", b"words only\n")
                )
                for name, data in members:
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
                facts = (
                    {"transcript": "words only"}
                    if number == 2
                    else {"transcript": str(about["text"]), "emotion": str(about["emotion"])}
                )
                expected[f"shard-{shard:05}.tar::{key}.flac"] = {"facts": facts, "split": None, "spans": []}
    return expected


def embedded_parquet(root: Path) -> Expected:
    """What ``datasets`` writes: ``audio: {bytes, path}``, two files, small row groups."""
    expected: Expected = {}
    (root / "data").mkdir(parents=True, exist_ok=True)
    for part in range(2):
        rows = [
            {
                "audio": {"bytes": encoded(tone(5 * part + number), format="FLAC"), "path": f"{part}{number}.flac"},
                "text": f"words {part}{number}",
                "speaker_id": f"s{number}",
                "style": "happy",
            }
            for number in range(5)
        ]
        uri = f"data/train-{part:05}-of-00002.parquet"
        pq.write_table(pa.Table.from_pylist(rows), root / uri, row_group_size=2)
        for number, row in enumerate(rows):
            facts = {"transcript": str(row["text"]), "speaker": str(row["speaker_id"]), "style": "happy"}
            expected[f"{uri}::{number}"] = {"facts": facts, "split": "train", "spans": []}
    return expected


#: Writers of whole layouts, by the format that ``auto`` must recognise.
LAYOUTS: dict[str, Callable[[Path], Expected]] = {
    "ravdess": ravdess,
    "emodb": emodb,
    "crema-d": cremad,
    "iemocap": iemocap,
    "meld": meld,
    "msp-podcast": msp_podcast,
    "esd": esd,
    "expresso": expresso,
    "librispeech": librispeech,
    "audformat": audformat,
    "audiofolder": audiofolder,
    "manifest": manifest,
    "webdataset": webdataset,
    "parquet": embedded_parquet,
}
