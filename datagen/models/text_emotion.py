"""What the words alone would make one think: a lexicon of sentiments (VADER), or a text classifier of transformers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import BaseModel, ConfigDict

from datagen.digest import revision
from datagen.errors import EnvironmentFault, UsageError
from datagen.models.text_model import FixedShapes, Languages, complete, tokens_at_most
from datagen.resources import folder
from datagen.tables import EMOTIONS, SENTIMENTS

#: The manifest's model of this kind, and its default.
LIKE = "go-emotions"
DECIMALS = 6


class Judgement(NamedTuple):
    """Emotion and sentiment of a text, each null where it cannot be told; ``score`` 0..1 is the first one's that is
    there."""

    emotion: str | None = None
    sentiment: str | None = None
    score: float | None = None


# --- Labels -------------------------------------------------------------------------------------------------


class Meaning(BaseModel):
    """What one label of a model stands for. Neither: the label counts, but says neither."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    emotion: str | None = None
    sentiment: str | None = None

    def problem(self) -> str | None:
        """A name that is none of ours, as a sentence."""
        for name, known in ((self.emotion, EMOTIONS), (self.sentiment, SENTIMENTS)):
            if name is not None and name not in known:
                return f"'{name}' is none of {', '.join(known)}"
        return None


@dataclass(frozen=True)
class Table:
    """``schemas/text_emotions.yaml``: label -> meaning."""

    version: str
    labels: Mapping[str, Meaning]


@cache
def table() -> Table:
    """The packaged table.

    Raises:
        UsageError: the file names an emotion or sentiment that there is not.
    """
    data = yaml.safe_load((folder("schemas") / "text_emotions.yaml").read_text("utf-8"))
    labels = {label: Meaning(**meaning) for label, meaning in data["labels"].items()}
    for label, meaning in labels.items():
        if problem := meaning.problem():
            raise UsageError(f"text_emotions.yaml: {label}: {problem}")
    return Table(revision(data), labels)


# --- VADER --------------------------------------------------------------------------------------------------

#: Hutto & Gilbert 2014, "VADER: a parsimonious rule-based model for sentiment analysis of social media text", ICWSM.
VADER, VADER_LICENCE = "vaderSentiment", "MIT"
VADER_LANGUAGES = Languages(frozenset({"en"}))
#: The authors' own limits: a compound score from here on is a sentiment, its sign says which.
_COMPOUND = 0.05


def vader_missing() -> str | None:
    """What has to be installed before ``Vader`` can be made, or None."""
    if importlib.util.find_spec("vaderSentiment") is None:
        return "text_emotion: backend vader needs the package vaderSentiment: pip install vaderSentiment==3.3.2"
    return None


def vader_revision() -> str:
    """Version of the package, which holds the lexicon."""
    try:
        return importlib.metadata.version("vaderSentiment")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


class Vader:
    """Sentiment from a lexicon and rules (negation, degree adverbs, "but"). English; tells no emotions.

    ``score`` is the size of the compound score, for neutral 1 minus that: a text without any word of the lexicon is
    neutral with score 1.
    """

    def __init__(self) -> None:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        self._analyser: Any = SentimentIntensityAnalyzer()

    def __call__(self, texts: Sequence[str]) -> list[Judgement]:
        return [self._judge(text) for text in texts]

    def _judge(self, text: str) -> Judgement:
        compound = float(self._analyser.polarity_scores(text)["compound"])
        if abs(compound) < _COMPOUND:
            return Judgement(None, "neutral", round(1 - abs(compound), DECIMALS))
        return Judgement(None, "positive" if compound > 0 else "negative", round(abs(compound), DECIMALS))


# --- Classifiers --------------------------------------------------------------------------------------------


class Classifier:
    """A sequence classifier of transformers from a folder with ``config.json``, a tokenizer and ``model.safetensors``.

    Its labels are independent of each other (``problem_type: multi_label_classification``, a sigmoid each) or exclude
    each other (softmax). An emotion's score is the largest of its labels' in the first case, their sum in the second;
    a sentiment's likewise.

    Args:
        own: meanings of labels that the table lacks, or means otherwise.
        min_score: an emotion or sentiment that scores less is null.

    Raises:
        EnvironmentFault: weights that do not fit, or a label without a meaning.
    """

    def __init__(
        self, path: Path, device: str = "cpu", own: Mapping[str, Meaning] | None = None, min_score: float = 0.5
    ) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        network: Any = AutoModelForSequenceClassification.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32,
            attn_implementation="eager",  # the same whether a batch has padding or not
        )  # fmt: skip
        body = network.base_model_prefix
        spare = [f"{body}.embeddings.position_ids"]
        if not any(name.startswith(f"{body}.pooler.") for name in network.state_dict()):
            spare.append(f"{body}.pooler.")  # of pre-training; the classifier has no place for it
        complete(network, path / "model.safetensors", spare=spare)
        self.network = network.eval().to(device)
        self.labels = [str(network.config.id2label[at]) for at in range(network.config.num_labels)]
        self.independent = network.config.problem_type == "multi_label_classification"
        self.min_score = min_score
        meanings = _meanings(path, self.labels, own or {})
        self._emotions = _columns([meaning.emotion for meaning in meanings], EMOTIONS)
        self._sentiments = _columns([meaning.sentiment for meaning in meanings], SENTIMENTS)
        self._run = FixedShapes(tokenizer, self._forward, tokens_at_most(tokenizer, network.config), device)

    def _forward(self, inputs: Mapping[str, Any]) -> Any:
        logits = self.network(**inputs).logits
        return logits.sigmoid() if self.independent else logits.softmax(-1)

    def scores(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Scores of ``self.labels``, 0..1, rounded: [texts, labels]. A text's depend on nothing but the text."""
        return np.asarray(np.round(self._run(texts).astype(np.float64), DECIMALS))

    def __call__(self, texts: Sequence[str]) -> list[Judgement]:
        """A text whose scores are not numbers gets NaN for a score."""
        scores = self.scores(texts)
        emotions, sureness = self._best(scores, self._emotions, EMOTIONS)
        sentiments, sureness_of_those = self._best(scores, self._sentiments, SENTIMENTS)
        return [
            Judgement(emotion, sentiment, first if emotion else second if sentiment else None)
            if np.isfinite(row).all() else Judgement(score=float("nan"))
            for emotion, first, sentiment, second, row in zip(
                emotions, sureness, sentiments, sureness_of_those, scores, strict=True
            )
        ]  # fmt: skip

    def _best(
        self, scores: npt.NDArray[np.float64], columns: npt.NDArray[np.bool_], names: Sequence[str]
    ) -> tuple[list[str | None], list[float]]:
        """Per text the name that scores highest, null where none of ``names`` does or it scores too little. The first
        of equals is taken."""
        each = np.where(columns[None], scores[:, None, :], 0.0)
        together = np.round(each.max(axis=2) if self.independent else each.sum(axis=2), DECIMALS)
        best = together.argmax(axis=1)
        score = together[np.arange(len(together)), best]
        told = (best < len(names)) & (score >= self.min_score)
        return [names[at] if ok else None for at, ok in zip(best, told, strict=True)], score.tolist()


def _meanings(path: Path, labels: Sequence[str], own: Mapping[str, Meaning]) -> list[Meaning]:
    known = {**{name.casefold(): meaning for name, meaning in table().labels.items()},
             **{name.casefold(): meaning for name, meaning in own.items()}}  # fmt: skip
    strange = [label for label in labels if label.casefold() not in known]
    if strange or len(labels) < 2:
        raise EnvironmentFault(
            f"{path}: nobody knows what its labels {', '.join(strange or labels)} mean; say so in the recipe: "
            "stages.text_emotion.labels: {<label>: {emotion: happy, sentiment: positive}}"
        )
    return [known[label.casefold()] for label in labels]


def _columns(meant: Sequence[str | None], names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """[names and "none of them", labels]: which labels count for which name."""
    return np.array([[name == wanted for name in meant] for wanted in (*names, None)], bool)
