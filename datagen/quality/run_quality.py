"""A run's ``quality.json``: every figure that its columns allow, and the gates that failed. Pure functions.

Which figure answers which complaint about such data: ``docs/data-quality.md``. Figures are about what may leave:
samples with the route ``drop`` are in ``mix`` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen import tables
from datagen.quality import blind_figures, judge_figures, label_figures, question_likeness, set_figures, text_figures
from datagen.quality.figures import counts, mean, share
from datagen.quality.run_gates import FAIL, UNMEASURED, Gates, evaluate

VERSION = 1
#: What the stage ``quality`` must find, and what it looks at where it is there.
REQUIRED = tuple(
    dict.fromkeys(
        ("clip_id", "mode", "options", "answer_label", "evidence", "attempts", "label_withheld", "writer",
         *text_figures.COLUMNS, *(name for name in blind_figures.COLUMNS if name not in tables.BLIND.names),
         "recording_id", "corpus", "speaker", "sex", "speech_lang", "duration")
    )
)  # fmt: skip
OPTIONAL = tuple(
    name
    for name in dict.fromkeys(
        ("checks_run", *tables.BLIND.names, *tables.JUDGE.names, *tables.ROUTE.names, *label_figures.COLUMNS,
         *set_figures.CLIP_COLUMNS)
    )
    if name not in REQUIRED
)  # fmt: skip
_CLIP = tuple(dict.fromkeys((*label_figures.COLUMNS, *set_figures.CLIP_COLUMNS)))

#: Error classes of rejects, by what they are complaints about.
COMPLAINTS = {
    "leak": ("LabelLeak", "MetadataLeak"),
    "hallucination": (
        "UngroundedEvidence",
        "AlteredQuote",
        "UngroundedNumber",
        "ContradictedClaim",
        "UnsupportedClaim",
    ),
    "refusal": ("Boilerplate", "Refused", "Filtered"),
    "truncation": ("Truncated", "WhitespaceLoop"),
    "wrong_label": ("WrongLabel", "WrongAnswer"),
    "duplicate": ("DuplicateQuestion",),
}


def summary(samples: pa.Table, repeats: pa.Array, gates: Gates) -> dict[str, Any]:
    """The artifact of the stage ``quality``, JSON-able.

    Args:
        samples: ``REQUIRED`` and ``OPTIONAL`` columns, one row per sample of the run.
        repeats: ``question_repeats`` of the same rows.

    Returns:
        ``version``, ``samples``, ``clips``, ``figures`` (family -> figures), ``gates`` (see ``run_gates.evaluate``),
        ``failed`` and ``not_measured`` (names of gates).
    """
    stays = pc.fill_null(pc.not_equal(samples["route"], "drop"), True)
    used = samples if pc.all(stays).as_py() else samples.filter(stays)
    clips = one_per_clip(used)
    blind = blind_figures.summary(used)
    rl = used.select(blind_figures.COLUMNS).filter(pc.equal(used["route"], "rl"))
    texts = text_figures.summary(used)
    figures: dict[str, Any] = {
        "mix": set_figures.mix(samples),
        "routes": set_figures.disjoint(used) if used["route"].null_count < used.num_rows else {},
        "blind": blind,
        "rl": {"samples": rl.num_rows, "blind": blind_figures.summary(rl)},
        "rationales": {
            "evidence_accuracy": blind["evidence_accuracy"],
            "text_accuracy": blind["evidence_text_accuracy"],
            "evidence_gain": blind["evidence_gain"],
            "label_withheld": _share_of(used, "reasoning", "label_withheld"),
        },
        "contrast": set_figures.contrast(clips, used),
        "scenarios": set_figures.scenarios(clips),
        "leaks": {"unchecked_share": _unchecked(used, "leak")},
        "grounding": _grounding(used),
        "option_positions": option_positions(used),
        "labels": label_figures.summary(clips),
        "balance": set_figures.balance(clips),
        "levels": set_figures.levels(clips),
        "splits": set_figures.splits(clips),
        "languages": set_figures.languages(clips),
        "judge": judge_figures.summary(used),
        "texts": {"tasks": texts, "worst_opening": text_figures.worst_opening(texts)},
        "question_repeats": text_figures.repeated(repeats.filter(stays)),
    }
    verdicts = evaluate(figures, gates)
    return {
        "version": VERSION,
        "samples": samples.num_rows,
        "samples_used": used.num_rows,
        "clips": clips.num_rows,
        "figures": figures,
        "gates": verdicts,
        "failed": [each["name"] for each in verdicts if each["verdict"] == FAIL],
        "not_measured": [each["name"] for each in verdicts if each["verdict"] == UNMEASURED],
    }


def render(artifact: Mapping[str, Any], rejects: pa.Table, metrics: Mapping[str, float]) -> dict[str, Any]:
    """What is written as ``quality.json``: the artifact, with what the run refused, which only a whole run can tell.

    Args:
        rejects: ``tables.REJECTS`` of the run. ``rejects`` of the result: per stage and error class the rows, and for
            each of ``COMPLAINTS`` the samples refused for it, as a share of those that the checks saw.
        metrics: of the stage ``write``. ``writing`` of the result: what a language model was asked for and did not
            bring about, which neither a sample nor a reject tells; null where none was asked.
    """
    grouped = rejects.select(["stage", "error_class"]).group_by(["stage", "error_class"], use_threads=False)
    classes = sorted(
        (row["stage"], row["error_class"], row["count_all"])
        for row in grouped.aggregate([([], "count_all")]).to_pylist()
    )
    stages: dict[str, dict[str, int]] = {}
    for stage, error_class, rows in classes:
        stages.setdefault(stage, {})[error_class] = rows
    verified = stages.get("verify", {})
    complaints = _complaints(verified, int(artifact["samples"]) + sum(verified.values()))
    return {**artifact, "rejects": {"stages": stages, "verify": complaints}, "writing": _writing(metrics)}


def _writing(metrics: Mapping[str, float]) -> dict[str, Any] | None:
    """Slots that took another attempt or were given up, and for what."""
    slots, start = int(metrics.get("write_slots", 0)), "write_given_up_"
    if not slots:
        return None
    classes = {name.removeprefix(start): int(metrics[name]) for name in sorted(metrics) if name.startswith(start)}
    return {
        "slots": slots,
        "retried_share": share(metrics.get("write_retried", 0), slots),
        "given_up_share": share(sum(classes.values()), slots),
        "classes": classes,
        "given_up": _complaints(classes, slots),
    }


def _complaints(classes: Mapping[str, int], seen: int) -> dict[str, dict[str, Any]]:
    found = {name: sum(classes.get(each, 0) for each in wanted) for name, wanted in COMPLAINTS.items()}
    return {name: {"samples": number, "share": share(number, seen)} for name, number in found.items()}


def one_per_clip(samples: pa.Table) -> pa.Table:
    """The clip columns of every clip once, in the order of its first sample."""
    ids = samples["clip_id"].combine_chunks().dictionary_encode()
    codes = ids.indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    return samples.select(["clip_id", *_CLIP]).take(pa.array(np.sort(first)))


def _unchecked(samples: pa.Table, check: str) -> float | None:
    """Share of samples that ``verify`` did not put to a check; None where it looked at none."""
    ran = samples["checks_run"]
    if ran.null_count == len(ran):
        return None
    checked = 0
    for chunk in ran.chunks:
        hits = pc.equal(pc.list_flatten(chunk), check).to_numpy(zero_copy_only=False).astype(bool)
        checked += len(np.unique(pc.list_parent_indices(chunk).to_numpy()[hits]))
    return share(len(ran) - checked, len(ran))


def _grounding(samples: pa.Table) -> dict[str, Any]:
    """Evidence, and how many answers a sample took."""
    items = pc.fill_null(pc.list_value_length(samples["evidence"]), 0)
    attempts = samples["attempts"].drop_null()
    return {
        "unchecked_share": _unchecked(samples, "evidence"),
        "evidence_items": mean(items),
        "without_evidence": share(pc.sum(pc.equal(items, 0)).as_py() or 0, samples.num_rows),
        "attempts": mean(attempts),
        "regenerate_rate": share(pc.sum(pc.greater(attempts, 1)).as_py() or 0, len(attempts)),
        "writers": counts(samples["writer"]),
    }


def _share_of(samples: pa.Table, task: str, flag: str) -> float | None:
    own = samples.filter(pc.equal(samples["task"], task))[flag].drop_null()
    return mean(own.cast(pa.int8()))


def option_positions(samples: pa.Table) -> dict[str, Any]:
    """At which place among its options the right answer stands: per number of options the counts, and the p that they
    are evenly spread.

    All voices of a contrast group are asked one question with one order of options. That is one draw, so what a group
    asks with the same answer counts once: else twelve sentences without a "surprised" would look like a loaded dice.
    """
    names = ["contrast_group_id", "question", "answer_label"]
    drawn = samples.select([*names, "options"]).append_column("row", pa.array(np.arange(samples.num_rows)))
    drawn = drawn.filter(pc.is_valid(drawn["options"]))
    grouped = pc.is_valid(drawn["contrast_group_id"])
    once = drawn.filter(grouped).group_by(names, use_threads=False).aggregate([("row", "min")])["row_min"]
    alone = drawn["row"].filter(pc.invert(grouped))
    shown = samples.select(["options", "answer_label"]).take(
        pa.chunked_array([*once.chunks, *alone.chunks], pa.int64())
    )
    counted, p = question_likeness.positions(shown["options"], shown["answer_label"])
    shown = {str(size): [int(number) for number in places] for size, places in sorted(counted.items())}
    return {"places": shown, "p": None if p is None else round(float(p), 4)}
