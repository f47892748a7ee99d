"""Gates on the figures of a run: what is asked for, what was found, and the verdict. They stop nothing; they tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PASS, FAIL, UNMEASURED, TOLD = "pass", "fail", "not measured", "told"


class Gates(BaseModel):
    """Thresholds; None = tell the figure, judge nothing. The defaults are choices, not laws of nature."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unchecked_leaks: float | None = Field(0.0, description="most samples, as a share, whose leaks nobody looked for")
    unchecked_evidence: float | None = Field(0.0, description="most, whose evidence nobody held against the record")
    question_excess: float | None = Field(0.05, description="most that questions alone are answered above chance")
    rl_text_excess: float | None = Field(0.05, description="most that RL questions with their words are")
    strong_share: float | None = Field(None, description="least share of scored samples that need ears")
    option_position_p: float | None = Field(0.05, description="least p of right answers being evenly placed")
    voice_tells_share: float | None = Field(0.5, description="least, of clips whose words are neutral or contradict")
    contrast_clip_share: float | None = Field(None, description="least share of clips in contrast groups")
    evidence_gain: float | None = Field(0.0, description="least that evidence recovers the label above the words")
    regenerate_rate: float | None = Field(0.5, description="most samples that took a second attempt")
    gold_ece: float | None = Field(0.15, description="most calibration error of pseudo-labels on gold ones")
    gold_precision: float | None = Field(None, description="least share of the model's labels that are the corpus's")
    affect_conflicts: float | None = Field(None, description="most pseudo-labels that arousal and valence contradict")
    emotion_entropy: float | None = Field(0.8, description="least evenness of emotions, 0..1")
    neutral_share: float | None = Field(0.3, description="most neutral among labelled clips")
    emotion_sex_v: float | None = Field(0.2, description="most Cramér's V of emotion and sex")
    emotion_corpus_v: float | None = Field(None, description="most Cramér's V of emotion and corpus")
    shared_speakers: float | None = Field(0.0, description="most speakers in two splits")
    shared_recordings: float | None = Field(0.0, description="most recordings in two splits")
    shared_contrast_groups: float | None = Field(
        None, description="most texts in two splits; corpora of parallel texts share all of theirs"
    )
    sft_rl_clips: float | None = Field(0.0, description="most clips in both SFT and RL")
    judge_parse_failures: float | None = Field(0.01, description="most verdicts that could not be read")
    judge_swap_consistency: float | None = Field(0.9, description="least share of pairs judged alike in both orders")
    judge_length_r: float | None = Field(0.3, description="most correlation of score and length")
    judge_score: float | None = Field(None, description="least mean score, 1..5")
    top_opening_share: float | None = Field(0.3, description="most texts of a task that begin with the same words")
    question_repeats: float | None = Field(None, description="most samples whose question another clip is asked too")
    language_mismatches: float | None = Field(None, description="most clips whose text is in another language")


@dataclass(frozen=True)
class _Gate:
    path: str  #: of the figure, by dots
    rule: Literal["<=", ">="]
    without: str  #: why there may be no figure


_BLIND, _JUDGE = "nothing was solved blind (stage blind)", "nothing was judged (stage judge)"
GATES: dict[str, _Gate] = {
    "unchecked_leaks": _Gate("leaks.unchecked_share", "<=", "nothing was verified (stage verify)"),
    "unchecked_evidence": _Gate("grounding.unchecked_share", "<=", "nothing was verified (stage verify)"),
    "question_excess": _Gate("blind.question_excess", "<=", _BLIND),
    "rl_text_excess": _Gate("rl.blind.text_excess", "<=", f"no RL sample, or {_BLIND}"),
    "strong_share": _Gate("blind.strong_share", ">=", _BLIND),
    "option_position_p": _Gate("option_positions.p", ">=", "no sample, or too few, with a closed list of options"),
    "voice_tells_share": _Gate("contrast.voice_tells_share", ">=", "words were held against no voice (text_emotion)"),
    "contrast_clip_share": _Gate("contrast.clip_share", ">=", "there are no clips"),
    "evidence_gain": _Gate("rationales.evidence_gain", ">=", f"no reasoning whose words are known, or {_BLIND}"),
    "regenerate_rate": _Gate("grounding.regenerate_rate", "<=", "the writer does not count its attempts"),
    "gold_ece": _Gate("labels.gold.ece", "<=", "too few clips with both a corpus's label and a model's scores"),
    "gold_precision": _Gate("labels.gold.precision", ">=", "no clip with both a corpus's label and a model's"),
    "affect_conflicts": _Gate(
        "labels.pseudo.affect_agreement.conflict_share", "<=", "no pseudo-label, or no stage agreement"
    ),
    "emotion_entropy": _Gate("balance.entropy", ">=", "fewer than two emotions"),
    "neutral_share": _Gate("balance.neutral_share", "<=", "no clip has an emotion"),
    "emotion_sex_v": _Gate("balance.emotion_sex_v", "<=", "fewer than two emotions or sexes, or too few clips"),
    "emotion_corpus_v": _Gate("balance.emotion_corpus_v", "<=", "fewer than two emotions or corpora, or too few clips"),
    "shared_speakers": _Gate("splits.shared_speakers", "<=", "no splits, or no known speakers"),
    "shared_recordings": _Gate("splits.shared_recordings", "<=", "no splits"),
    "shared_contrast_groups": _Gate("splits.shared_contrast_groups", "<=", "no splits, or no contrast groups"),
    "sft_rl_clips": _Gate("routes.shared_clips", "<=", "nothing was routed"),
    "judge_parse_failures": _Gate("judge.parse_failure_rate", "<=", _JUDGE),
    "judge_swap_consistency": _Gate("judge.swap_consistency", ">=", "no pair of replies was judged"),
    "judge_length_r": _Gate("judge.length_correlation", "<=", _JUDGE),
    "judge_score": _Gate("judge.score", ">=", _JUDGE),
    "top_opening_share": _Gate("texts.worst_opening", "<=", "no task has fifty texts"),
    "question_repeats": _Gate("question_repeats.share", "<=", "no questions"),
    "language_mismatches": _Gate("languages.mismatches", "<=", "no clip has both languages"),
}


def evaluate(figures: Mapping[str, Any], gates: Gates) -> list[dict[str, Any]]:
    """Every gate in order: ``name``, ``figure`` (its path), ``value``, ``rule``, ``threshold``, ``verdict``, and
    ``why`` it was not measured, else None."""
    found = []
    for name, gate in GATES.items():
        threshold, value = getattr(gates, name), _at(figures, gate.path)
        if value is None:
            verdict = UNMEASURED
        elif threshold is None:
            verdict = TOLD
        else:
            verdict = PASS if (value <= threshold if gate.rule == "<=" else value >= threshold) else FAIL
        why = gate.without if value is None else None
        found.append(
            {"name": name, "figure": gate.path, "value": value, "rule": gate.rule, "threshold": threshold,
             "verdict": verdict, "why": why}
        )  # fmt: skip
    return found


def _at(figures: Mapping[str, Any], path: str) -> float | None:
    found: Any = figures
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, int | float) else None
