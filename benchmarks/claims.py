"""How well the mechanical checks see what a free text claims about a voice: precision and recall on sentences that
were written by hand by somebody who had not seen them (tests/quality/voice_claims.yaml).

    python benchmarks/claims.py            # the half that is held out: the figure that counts
    python benchmarks/claims.py --half dev --show   # the other half, with what was missed and what was mistaken

A text counts as refused when it makes a claim that the record contradicts or does not hold, or gives a number that is
not measured. Languages without a lexicon are refused as a whole (`unchecked`) and are counted apart. No goal yet: what
passes mechanically is judged by other means as well.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from datagen.quality import checks, facts, grounding, lexicon
from datagen.quality.claims import judge, split_quotes

SENTENCES = Path(__file__).parent.parent / "tests" / "quality" / "voice_claims.yaml"


#: What kind of text an entry is, by the second part of its id, and the column such a text stands in.
COLUMNS = {"rep": "response", "rat": "reasoning", "ans": "answer", "cap": "answer"}


def record_of(entry: dict[str, Any]) -> facts.Record:
    """The entry's record as a clip's row would give it; a sentiment may be known without an emotion here."""
    given = dict(entry["record"])
    events = [{"event": name, "start": None, "end": None, "score": 1.0} for name in given.pop("events", None) or ()]
    row = {"clip_id": entry["id"], "label_source": "gold", "transcript_source": "gold", "asr_confidence": 1.0}
    record = facts.from_row(row | given | {"events": events})
    sentiment = {name: given[name] for name in ("sentiment",) if given.get(name)}
    return dataclasses.replace(record, facts={**record.facts, **sentiment})


def refused(entry: dict[str, Any], words: lexicon.Lexicon) -> list[str]:
    """What the checks have against the text."""
    record = record_of(entry)
    masked, _, _ = split_quotes(entry["text"])
    claims = checks.claims_in(COLUMNS[entry["id"].split("-")[1]], masked, record, words)
    found = [f"{claim.text}: {verdict}" for claim in claims if (verdict := judge(claim, record))]
    measured = [{"field": name, "value": str(value)} for name, value in record.facts.items()]
    return [*found, *grounding.numbers(masked, measured, words)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("held_out", "dev"), default="held_out")
    parser.add_argument("--show", action="store_true", help="print every entry that was judged otherwise")
    arguments = parser.parse_args()
    if arguments.show and arguments.half == "held_out":
        parser.error("the held-out half is not to be looked at: --half dev")
    counts: Counter[tuple[str, str, str]] = Counter()
    for entry in yaml.safe_load(SENTENCES.read_text(encoding="utf-8")):
        if entry["split"] != arguments.half:
            continue
        language = entry["id"].split("-")[0]
        words = lexicon.load(language)
        if words is None or not words.can_read_claims:
            counts[language, entry["verdict"], "unchecked"] += 1
            continue
        found = refused(entry, words)
        counts[language, entry["verdict"], "refused" if found else "passed"] += 1
        if arguments.show and (entry["verdict"] == "unsupported") is not bool(found):
            print(f"{entry['id']}: {entry['verdict']}, {'; '.join(found) or 'passed'}\n    {entry['text']}")
    for language in sorted({key[0] for key in counts}):
        own = {key[1:]: count for key, count in counts.items() if key[0] == language}
        if unchecked := sum(count for (_, fate), count in own.items() if fate == "unchecked"):
            print(f"{language}: {unchecked} texts, no lexicon that reads claims: unchecked, so refused")
            continue
        right, wrong = own.get(("unsupported", "refused"), 0), own.get(("fine", "refused"), 0)
        missed, passed = own.get(("unsupported", "passed"), 0), own.get(("fine", "passed"), 0)
        print(
            f"{language}, {arguments.half}: {right + wrong + missed + passed} texts; of {right + missed} unsupported "
            f"{right} refused (recall {right / max(right + missed, 1):.2f}); of {right + wrong} refused {right} "
            f"unsupported (precision {right / max(right + wrong, 1):.2f})"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
