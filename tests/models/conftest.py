"""Tiny checkpoints, built once per test run."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="session")
def whisper_folder(checkpoints: Path) -> Path:
    from datagen.testing.checkpoints import whisper

    return whisper.build(checkpoints / "whisper")


@pytest.fixture(scope="session")
def emotion2vec_folder(checkpoints: Path) -> Path:
    from datagen.testing.checkpoints import emotion2vec

    return emotion2vec.build(checkpoints / "emotion2vec")


@pytest.fixture(scope="session")
def audeering_folder(checkpoints: Path) -> Path:
    from datagen.testing.checkpoints import audeering

    return audeering.build(checkpoints / "audeering")


@pytest.fixture(scope="session")
def age_gender_folder(checkpoints: Path) -> Path:
    from datagen.testing.checkpoints import audeering

    return audeering.build_age_gender(checkpoints / "age_gender")


@pytest.fixture(scope="session")
def tagger_folder(checkpoints: Path) -> Path:
    from datagen.testing.checkpoints import tagger

    return tagger.build(checkpoints / "tagger")


@pytest.fixture(scope="session")
def diarizer_folder(checkpoints: Path) -> Path:
    from datagen.testing.checkpoints import diarizer

    return diarizer.build(checkpoints / "diarizer")


@pytest.fixture(scope="session")
def sentences_folder(checkpoints: Path) -> Path:
    from datagen.testing.checkpoints import sentences

    return sentences.build(checkpoints / "sentences")


@pytest.fixture(scope="session")
def text_emotion_folder(checkpoints: Path) -> Path:
    from datagen.testing.checkpoints import text_emotion

    return text_emotion.build(checkpoints / "text_emotion")
