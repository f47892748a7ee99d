"""Every shipped recipe can be planned, with and without the offline profile, and says whose data it resembles."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.config import load
from datagen.layers import available, read_profile
from datagen.pipeline import Pipeline
from datagen.quality.licences import published
from datagen.tables import MODES, TASKS

RECIPES = sorted(available())
EMBEDDED = {"transcribe": "auto", "emotion": "reference", "affect": "acoustic", "embed": "minilm",
            "text_emotion": "vader"}  # fmt: skip


def head(path: Path) -> str:
    """The comment a recipe begins with."""
    lines = path.read_text("utf-8").split("\n")
    return "\n".join(lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))])


def test_the_published_systems_have_their_recipes() -> None:
    assert {"cpqa", "pallm", "emotion_reasoning", "paras2s", "full"} <= set(RECIPES)


@pytest.mark.parametrize("profile", [None, "offline", "embedded", "template", "permissive"])
@pytest.mark.parametrize("name", RECIPES)
def test_recipe_can_be_planned(name: str, profile: str | None) -> None:
    recipe = load(name, profile=profile)
    pipeline = Pipeline(recipe.stages())  # refuses columns that nobody writes
    assert recipe.name == name
    assert recipe.description
    assert pipeline.order[0] == "ingest"
    assert pipeline.order[-1] == "export"
    assert {"dup_of", "split", "emotion", "arousal_level"} <= set(pipeline.columns("clips"))
    assert {"route", "checks_run"} <= set(pipeline.columns("samples"))


@pytest.mark.parametrize("name", RECIPES)
def test_offline_means_embedded_backends_only(name: str) -> None:
    configs = load(name, profile="offline").configs
    assert {stage: configs[stage].backend for stage in EMBEDDED} == EMBEDDED
    assert not any(stage.asks() for stage in load(name, profile="offline").stages().values())


@pytest.mark.parametrize("name", RECIPES)
def test_a_language_model_writes_and_nobody_else_need_be_real_for_it(name: str) -> None:
    for profile in ([], ["embedded"], ["embedded", "permissive"]):
        asking = {n: asked for n, stage in load(name, profile=profile).stages().items() if (asked := stage.asks())}
        assert {"write", "blind"} <= set(asking)
        assert ("judge" in asking) == (name in {"pallm", "paras2s", "full"})
        assert ("scenario" in asking) == (name in {"paras2s", "full"})
        assert {asked.group for asked in asking.values()} == {asking["write"].group}  # one server serves them all
        assert all(published().permissions(asked.licence).commercial for asked in asking.values())


@pytest.mark.parametrize("name", RECIPES)
def test_a_server_that_is_running_takes_three_settings(name: str) -> None:
    sets = ["llm.server=endpoint", "llm.urls=[http://host:8000/v1]", "llm.model=theirs"]
    for stage in load(name, profile="embedded", sets=sets).stages().values():
        if (asked := stage.asks()) is not None:
            assert (asked.server, asked.model, asked.urls) == ("endpoint", "theirs", ("http://host:8000/v1",))
            assert asked.licence is None  # nobody has said theirs
            assert stage.check() is None


@pytest.mark.parametrize("name", RECIPES)
def test_profiles_put_together_are_the_one_that_names_them(name: str) -> None:
    assert load(name, profile=["embedded", "template"]).document() == load(name, profile="offline").document()
    assert "quality" in load(name, profile="offline").configs


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_recipe_asks_for_is_written_by_templates_too(name: str) -> None:
    one, other = load(name).configs["write"], load(name, profile="template").configs["write"]
    assert (one.tasks, one.modes, one.counts) == (other.tasks, other.modes, other.counts)


@pytest.mark.parametrize("profile", sorted(available("profile")))
def test_a_profile_adds_no_stage(profile: str) -> None:
    laid_over = read_profile(profile)
    for name in RECIPES:
        assert {stage for stage, settings in laid_over["stages"].items() if settings} <= set(load(name).configs)
        left_out = {stage for stage, settings in laid_over["stages"].items() if settings is None}
        assert not left_out & set(load(name, profile=profile).configs)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_name_the_real_models(name: str) -> None:
    configs = load(name).configs
    backends = {stage: configs[stage].backend for stage in ("transcribe", "emotion", "affect")}
    assert backends == {"transcribe": "whisperx", "emotion": "emotion2vec", "affect": "audeering"}


@pytest.mark.parametrize("name", RECIPES)
def test_permissive_means_makers_that_allow_commercial_use(name: str) -> None:
    licences = published()
    stages = load(name, profile="permissive").stages()
    makers = [maker for stage in stages.values() for maker in stage.provenance()]
    assert {maker.model for maker in makers if not licences.permissions(maker.licence).commercial} == set()
    assert any(
        not licences.permissions(m.licence).commercial for s in load(name).stages().values() for m in s.provenance()
    )


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"full"}))
def test_recipe_says_what_it_follows_and_what_is_unknown(name: str) -> None:
    comment = head(available()[name])
    assert "arXiv" in comment
    assert "Emits" in comment
    assert "No claim is made to" in comment.replace("\n# ", " ")


def test_full_writes_everything_and_holds_out_every_benchmark() -> None:
    full = load("full").configs
    assert set(full["write"].tasks) == set(TASKS)
    assert set(full["write"].modes) == set(MODES)
    for name in RECIPES:
        assert set(load(name).configs["split"].holdout) <= set(full["split"].holdout)


def test_quickstart_recipe_covers_both_modes_and_four_tasks() -> None:
    write = load("cpqa", profile="offline").configs["write"]
    assert set(write.tasks) == set(TASKS) - {"caption"}
    assert set(write.modes) == set(MODES)
