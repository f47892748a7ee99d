"""What a judge is shown, and how votes become scores. Pure functions on one sample; the stage ``judge`` asks.

Criteria are decoupled: each is a question of its own, and who rates the words does not see the voice. What a criterion
may see is decided here, by what it is given, and not by a prompt that leaves things out. Nothing says who wrote the
text: neither writer nor model nor which of several candidates it is.

A text to be judged is a reply (task ``response``) or an account of a clip (reasoning, answer, caption). Figures over a
whole run are in ``judge_figures``.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datagen.quality.facts import Record, context

Sample = Mapping[str, Any]

CRITERIA = ("content", "paralinguistic", "empathy", "fluency")
#: Columns of ``samples`` that are looked at.
COLUMNS = (
    "task", "question", "reasoning", "answer", "response", "response_style", "scenario", "rejected_response",
    "rejected_style", "candidates",
)  # fmt: skip
_WITHOUT_WORDS = frozenset({"text"})


@dataclass(frozen=True, slots=True)
class Rated:
    """A text to be judged: of a row, or of one of its candidates."""

    reply: bool
    text: str
    style: str | None = None  #: of a reply
    question: str | None = None  #: of an account: what it answers
    answer: str | None = None  #: of an account that argues: what it arrives at


def rated(sample: Sample, candidate: Mapping[str, Any] | None = None) -> Rated | None:
    """The text of the row, or of ``candidate`` in its place; None where there is none."""
    text = candidate if candidate is not None else sample
    if sample["task"] == "response":
        return Rated(True, text["response"], style=text["response_style"]) if text["response"] else None
    account = text["reasoning"] or text["answer"]
    if not account:
        return None
    return Rated(False, account, question=sample["question"], answer=text["answer"] if text["reasoning"] else None)


def views(rated: Rated, record: Record, scenario: str | None) -> dict[str, tuple[str, dict[str, Any]]]:
    """Criterion -> (name of its prompt, its variables), for those that can be judged by what is known.

    ========================  =====================================================
    reply, content            words (must be known), situation, reply
    reply, paralinguistic     measured facts about the voice, reply, its style
    reply, empathy            emotion (must be known), words, situation, reply
    account, content          all facts, question, account
    account, paralinguistic   measured facts about the voice, question, account
    fluency of either         the text
    ========================  =====================================================
    """
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    voice = _facts(record, _WITHOUT_WORDS)
    words, emotion = record.transcript, record.get("emotion")
    if rated.reply:
        said = {"words": words, "scenario": scenario, "reply": rated.text}
        if words is not None:
            found["content"] = "reply_content", said
        if voice is not None:
            found["paralinguistic"] = "reply_voice", {"voice": voice, "reply": rated.text, "style": rated.style}
        if emotion is not None:
            found["empathy"] = "reply_empathy", said | {"emotion": emotion}
    else:
        given = {"asked": rated.question, "account": rated.text, "answer": rated.answer}
        if (known := _facts(record)) is not None:
            found["content"] = "account_content", given | {"facts": known}
        if voice is not None:
            found["paralinguistic"] = "account_voice", given | {"voice": voice}
    found["fluency"] = "fluency", {"text": rated.text}
    return found


def pair(sample: Sample, record: Record) -> dict[str, Any] | None:
    """Variables of the pairwise prompt, the chosen reply first; None where there is nothing to compare or to go by."""
    voice = _facts(record, _WITHOUT_WORDS)
    if not sample["response"] or not sample["rejected_response"] or voice is None:
        return None
    replies = [
        {"reply": sample["response"], "style": sample["response_style"]},
        {"reply": sample["rejected_response"], "style": sample["rejected_style"]},
    ]
    return {"voice": voice, "words": record.transcript, "scenario": sample["scenario"], "replies": replies}


def _facts(record: Record, withheld: frozenset[str] = frozenset()) -> Any:
    shown = context(record, withheld)
    return json.loads(shown) if shown is not None else None


# --- From votes to scores -----------------------------------------------------------------------------------

Votes = Mapping[str, Sequence[int | None]]  #: criterion -> a score from 1 to 5 per vote, None = could not be read


def means(votes: Votes) -> dict[str, float | None]:
    """Criterion -> mean of the votes that could be read."""
    read = {name: [vote for vote in given if vote is not None] for name, given in votes.items()}
    return {name: round(statistics.fmean(given), 4) if given else None for name, given in read.items()}


def score(votes: Votes, weights: Mapping[str, float]) -> float | None:
    """Weighted mean of the criteria, 1..5; None where one that was asked for has no vote that could be read.

    Leaving it out of the mean instead would compare texts by different criteria.
    """
    of = means(votes)
    known = {name: mean for name, mean in of.items() if mean is not None}
    weight = sum(weights[name] for name in known)
    if len(known) < len(of) or weight <= 0:
        return None
    return round(sum(weights[name] * mean for name, mean in known.items()) / weight, 4)


def spread(votes: Votes) -> float | None:
    """Mean over the criteria of their votes' standard deviation (of the population); None without two votes on one.

    >>> spread({"content": [4, 4], "fluency": [3, 5], "empathy": [2, None]})
    0.5
    """
    several = [read for given in votes.values() if len(read := [vote for vote in given if vote is not None]) > 1]
    return round(statistics.fmean(map(statistics.pstdev, several)), 4) if several else None


def unread(votes: Votes) -> list[str]:
    """Criteria that were asked for and have no vote."""
    return [name for name, mean in means(votes).items() if mean is None]


#: What was said of (chosen, rejected) and of (rejected, chosen), in these words -> which reply that is.
_MEANS = ({"A": "chosen", "B": "rejected", "tie": "tie"}, {"A": "rejected", "B": "chosen", "tie": "tie"})


def preference(first: str | None, second: str | None) -> tuple[str | None, bool | None]:
    """(chosen | rejected | tie, whether both orders say the same), from the answers to both orders.

    A tie in one order leaves it to the other, and contradicting answers are a tie. With one order alone nothing is
    said: which stands first decides too much (Zheng et al. 2023, "Judging LLM-as-a-Judge", NeurIPS).

    >>> preference("A", "B"), preference("A", "A"), preference("tie", "B"), preference("A", None)
    (('chosen', True), ('tie', False), ('chosen', False), (None, None))
    """
    if first is None or second is None:
        return None, None
    said = {_MEANS[0][first], _MEANS[1][second]}
    decided = said - {"tie"}
    return (decided.pop() if len(decided) == 1 else "tie"), len(said) == 1
