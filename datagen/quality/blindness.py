"""Can it be answered without ears? What a reader without the recording is shown, and how its answers are counted.

Pure functions on one sample; the stage ``blind`` asks. Figures over a whole run are in ``blind_figures``.

A reader chooses among the options, k times in other orders. Whoever knows nothing is right as often as chance says,
so a sample counts as answered when a guesser would be right so often in at most ``significance`` of all cases, by the
one-sided binomial test. A fixed margin would not do: of five answers about two options all five say less than three of
five about seven.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datagen import tables
from datagen.quality.dice import Dice
from datagen.quality.facts import ANSWERABLE, GROUP, SEXES, Record
from datagen.quality.leak import without_options

Sample = Mapping[str, Any]

#: Columns of ``samples`` that ``puzzle`` looks at.
COLUMNS = ("task", "question", "options", "answer_label", "evidence", "scenario", "metadata_context")
PASSES = ("question", "words", "evidence")  #: names of the prompts
MOST_OPTIONS = 26  # letters

OPEN, NO_WORDS, UNREAD, FEW = (
    "open question", "no words are known", "no answer could be read", "too few answers could be read",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Puzzle:
    """A closed question without its options, and what each reader is shown beside it: prompt name -> variables."""

    options: tuple[str, ...]  #: sorted
    label: str
    shown: Mapping[str, Mapping[str, Any]]


def puzzle(sample: Sample, record: Record, events: Sequence[str] = ()) -> Puzzle | None:
    """What to ask about a sample; None where its answer is no choice among named options.

    The question alone is shown without metadata in both modes: whether the *question* tells the answer is a property of
    the question. The reader with the words is shown everything that the trainee has but the sound, so in explicit mode
    the metadata too: what can be answered from it needs no ears either. Where neither words nor metadata are there, it
    is not asked.

    Args:
        events: names a non-verbal sound can have, for questions about sounds without options.
    """
    if sample["question"] is None or not sample["evidence"] or sample["task"] in ("response", "caption"):
        return None
    field = sample["evidence"][0]["field"]
    options, label = _options(field, sample["options"], events), sample["answer_label"]
    if label not in options or not 2 <= len(options) <= MOST_OPTIONS:
        return None
    asked = {"asked": without_options(sample["question"], sample["options"])[0]}
    told = asked | {"scenario": sample["scenario"]}
    shown: dict[str, Mapping[str, Any]] = {"question": told}
    metadata = _parsed(sample["metadata_context"])
    if record.transcript is not None or metadata is not None:
        shown["words"] = told | {"words": record.transcript, "metadata": metadata}
    if sample["task"] == "reasoning" and (notes := _without(field, sample["evidence"])):
        shown["evidence"] = asked | {"notes": notes}
    return Puzzle(options, label, shown)


def _options(field: str, listed: Sequence[str] | None, events: Sequence[str]) -> tuple[str, ...]:
    """Those of the sample, else every value that the field can have."""
    values = {"emotion": ANSWERABLE, "sentiment": tables.SENTIMENTS, "sex": SEXES, "events": tuple(events)}
    vocabulary = values.get(field, tables.LEVELS if field.endswith("_level") else ())
    return tuple(sorted({*(listed or vocabulary)}))


def _without(field: str, evidence: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Notes for the reader: evidence of other groups than the label's, nulls left out."""
    return [
        {name: item[name] for name in ("field", "value", "quote") if item[name] is not None}
        for item in evidence
        if GROUP.get(item["field"]) != GROUP.get(field, field)
    ]


def _parsed(metadata: str | None) -> Any:
    if metadata is None:
        return None
    try:
        return json.loads(metadata)
    except ValueError:
        return metadata


def orders(options: Sequence[str], count: int, *name: str | int) -> list[tuple[str, ...]]:
    """``count`` orders of the options, the same for the same name.

    A shuffle is turned by one place at a time until every option stood everywhere (a Latin square), then comes the next
    shuffle: who always takes the first option is right as seldom as chance allows.

    >>> orders(["no", "yes"], 3, "a question")
    [('yes', 'no'), ('no', 'yes'), ('yes', 'no')]
    """
    dice, deck, found = Dice("order", *name), list(options), []
    for turn in range(count):
        if turn % len(deck) == 0:
            deck = dice.shuffled(deck)
        at = turn % len(deck)
        found.append((*deck[at:], *deck[:at]))
    return found


@dataclass(frozen=True, slots=True)
class Tally:
    """Answers to one prompt: those that could be read, and those of them that were right."""

    right: int = 0
    read: int = 0

    @property
    def accuracy(self) -> float | None:
        return round(self.right / self.read, 4) if self.read else None


def luck(tally: Tally, chance: float) -> float:
    """Probability that a guesser is right at least so often: P(X >= right) for X ~ B(read, chance).

    >>> round(luck(Tally(3, 5), 1 / 7), 3), round(luck(Tally(5, 5), 1 / 2), 3), luck(Tally(0, 5), 1 / 2)
    (0.023, 0.031, 1.0)
    """
    n = tally.read
    return math.fsum(math.comb(n, k) * chance**k * (1 - chance) ** (n - k) for k in range(tally.right, n + 1))


def verdict(tallies: Mapping[str, Tally], chance: float, significance: float) -> dict[str, Any]:
    """The columns of ``tables.BLIND`` for a sample with a label, from the answers to each of its prompts.

    Weak: the question or the words suffice. Strong: both were tried with enough answers to tell, and neither does.
    """
    asked = {name: tallies[name] for name in ("question", "words") if name in tallies}
    enough = {name: chance**tally.read <= significance for name, tally in asked.items()}
    weak = any(tally.read and luck(tally, chance) <= significance for tally in asked.values())
    reason = None
    if not all(tally.read for tally in tallies.values()):
        reason = UNREAD
    elif not all(enough.values()):
        reason = FEW
    elif "words" not in asked:
        reason = NO_WORDS
    strong = not weak and "words" in asked and all(enough.values())
    accuracies = {name: tallies[name].accuracy if name in tallies else None for name in PASSES}
    return {
        "blind_question_accuracy": accuracies["question"],
        "blind_text_accuracy": accuracies["words"],
        "evidence_accuracy": accuracies["evidence"],
        "blind_chance": round(chance, 4),
        "blind_reason": reason,
        "audio_contribution": "weak" if weak else "strong" if strong else None,
    }


def unanswerable() -> dict[str, Any]:
    """The same for a sample that no option answers."""
    return {**dict.fromkeys(tables.BLIND.names), "blind_reason": OPEN}
