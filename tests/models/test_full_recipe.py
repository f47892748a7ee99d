"""The whole recipe with every real model's code, on tiny checkpoints: what it fills, and that nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen import config, tables
from datagen.run import Options, Workspace, execute
from datagen.status import stage_counts

ROOT = Path(__file__).parents[2]
CLIPS = ROOT / "examples" / "clips"
DEVSET = ROOT.parent / "shared" / "corpora" / "devset"

#: Columns that only a model of this recipe fills, by stage.
FILLED = {
    "transcribe": (
        "transcript", "words", "text_lang", "asr_confidence", "asr_avg_logprob", "asr_no_speech", "asr_compression",
    ),
    "emotion": ("emotion", "emotion_scores", "emotion_margin", "emotion_entropy", "emotion_predicted", "label_source",
                "emotion_timeline", "emotion_embedding"),
    "affect": ("arousal_raw", "dominance_raw", "valence_raw"),
    "describe": ("arousal", "dominance", "valence", "arousal_pct", "dominance_pct", "valence_pct", "valence_level"),
    "age_gender": ("age_predicted", "sex_scores"),
    "agreement": ("affect_agreement_score",),
    "embed": ("text_embedding", "text_key", "word_count", "word_coverage"),
    "text_emotion": ("text_emotion", "text_sentiment", "text_emotion_score"),
    "neighbours": ("text_cluster", "voice_cluster"),
    "condense": ("cue_relation", "richness", "stratum", "sampling_weight"),
}  # fmt: skip


@pytest.fixture(scope="session")
def settings(
    whisper_folder: Path, emotion2vec_folder: Path, audeering_folder: Path, age_gender_folder: Path,
    tagger_folder: Path, sentences_folder: Path, text_emotion_folder: Path, checkpoints: Path,
) -> list[str]:  # fmt: skip
    """The recipe's models replaced by tiny ones; a random Whisper writes to its limit, so it gets a low one."""
    from datagen.testing.checkpoints import ctc

    aligners = {language: str(ctc.build(checkpoints / f"align-{language}", language)) for language in ("en", "de")}
    models = {
        "transcribe": whisper_folder, "emotion": emotion2vec_folder, "affect": audeering_folder,
        "age_gender": age_gender_folder, "events": tagger_folder, "embed": sentences_folder,
        "text_emotion": text_emotion_folder,
    }  # fmt: skip
    return [
        *(f"stages.{stage}.model={folder}" for stage, folder in models.items()),
        f"stages.transcribe.aligners={aligners}",
        "stages.transcribe.languages=[en, de]",
        "stages.transcribe.max_tokens_per_second=4",
        "stages.transcribe.beam_size=1",
        "stages.embed.backend=sentence-transformers",
        "stages.embed.languages=[en, de]",
        "stages.text_emotion.languages=['*']",
        "stages.emotion.min_margin=0",
        "stages.condense.select=null",  # what random models are sure of is nothing to select by
    ]


def run(source: Path, to: Path, kind: str, settings: list[str], limit: int | None = None) -> Workspace:
    overrides = {"stages.ingest.input": str(source), "executor.kind": kind}
    recipe = config.load("full", profile="template", sets=settings, overrides=overrides)
    return execute(recipe, str(to), Options(progress="none", limit=limit), lambda said: None)[0]


def columns(space: Workspace, names: tuple[str, ...]) -> dict[str, list]:
    parts = [
        space.store.read(space.plan.table_plan("clips", shard, [*names], live=False)) for shard in space.plan.shards
    ]
    return {name: [value for part in parts for value in part[name].to_pylist()] for name in names}


def check(space: Workspace) -> None:
    counts = {count.stage: count for count in stage_counts(space.plan, space.store, verify=True)}
    assert {name: count.problems for name, count in counts.items() if count.problems} == {}
    for stage, names in FILLED.items():
        found = columns(space, names)
        empty = [name for name, values in found.items() if not any(value not in (None, []) for value in values)]
        assert empty == [], stage
    for stage in ("transcribe", "emotion", "affect", "age_gender", "events"):
        assert counts[stage].ok > 0
        assert counts[stage].metrics["audio_s"] > 0
        assert counts[stage].metrics["padded_s"] >= counts[stage].metrics["audio_s"]
    predicted = columns(space, ("emotion_predicted", "emotion_scores"))
    assert set(predicted["emotion_predicted"]) - {None} <= {*tables.EMOTIONS, "unknown"}
    assert {len(scores) for scores in predicted["emotion_scores"] if scores} == {9}


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory, settings: list[str]) -> Workspace:
    return run(CLIPS, tmp_path_factory.mktemp("local") / "run", "local", settings)


def test_every_column_is_filled_and_no_row_is_lost(local: Workspace) -> None:
    check(local)
    copies = columns(local, ("sound_group", "dup_of", "dup_why"))  # one of the shipped clips is there twice
    assert {name: sum(value is not None for value in values) for name, values in copies.items()} == {
        "sound_group": 2, "dup_of": 1, "dup_why": 1,
    }  # fmt: skip


def test_both_executors_say_the_same(local: Workspace, tmp_path: Path, settings: list[str]) -> None:
    names = tuple(name for listed in FILLED.values() for name in listed)
    on_ray = run(CLIPS, tmp_path / "run", "ray", settings)
    check(on_ray)
    one, other = (columns(space, ("clip_id", *names)) for space in (local, on_ray))
    assert one["clip_id"] == other["clip_id"]
    differing = [name for name in names if one[name] != other[name]]
    assert differing == []


def test_a_second_run_has_nothing_to_do(local: Workspace, settings: list[str]) -> None:
    overrides = {"stages.ingest.input": str(CLIPS), "executor.kind": "local"}
    recipe = config.load("full", profile="template", sets=settings, overrides=overrides)
    _, outcome = execute(recipe, local.files.url, Options(progress="none"), lambda said: None)
    assert sum(outcome.committed.values()) == 0


@pytest.mark.shared
@pytest.mark.skipif(not DEVSET.is_dir(), reason="the labelled corpora are not beside the checkout")
def test_the_labelled_corpora_come_through(tmp_path: Path, settings: list[str]) -> None:
    space = run(DEVSET, tmp_path / "run", "ray", settings, limit=60)
    check(space)
    gold = columns(space, ("label_source",))["label_source"]
    assert {"gold", "pseudo"} <= set(gold)
    assert any(agreed is not None for agreed in columns(space, ("gold_agreement",))["gold_agreement"])
