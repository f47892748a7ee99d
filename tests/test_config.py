"""Recipes: every mistake is found before anything starts, and named by its path."""

from __future__ import annotations

import pytest
import yaml

from datagen import config
from datagen.errors import UsageError


def write(tmp_path, **changes):
    document = {"recipe": "mine", "stages": {"ingest": {"input": "x"}, "segment": {}}} | changes
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def test_layers_win_in_order(tmp_path):
    recipe = config.load(write(tmp_path), sets=["seed=3", "stages.segment.max_seconds=20"], overrides={"seed": 2})
    assert recipe.seed == 3
    assert recipe.configs["segment"].max_seconds == 20


def test_a_profile_removes_a_stage_with_null(tmp_path):
    profile = tmp_path / "small.yaml"
    profile.write_text("stages: {segment: null}")
    assert list(config.load(write(tmp_path), profile=str(profile)).configs) == ["ingest"]


def test_a_null_takes_back_what_a_recipe_sets():
    whole = ["stages.condense.select=null", "stages.segment.max_seconds=null"]
    cpqa, back = config.load("cpqa"), config.load("cpqa", sets=whole)
    assert cpqa.configs["condense"].select.max_neutral_share is not None
    assert back.configs["condense"].select == type(back.configs["condense"].select)()
    assert back.configs["segment"].max_seconds == 30
    one = config.load("cpqa", sets=["stages.condense.select.max_neutral_share=null"])
    assert one.configs["condense"].select.max_neutral_share is None
    assert one.configs["condense"].select.min_per_stratum == cpqa.configs["condense"].select.min_per_stratum


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["stages.segment.metod=vad"], r"stages\.segment\.metod: unknown key - did you mean 'method'\?"),
        (["stages.segment.method=vda"], r"stages\.segment\.method: unknown 'vda' - did you mean 'vad'\?"),
        (["stages.segmnt={}"], r"stages\.segmnt: unknown stage - did you mean 'segment'\?"),
        (["stages.segment.resources.gpu=1"], r"resources\.gpu: unknown - did you mean 'gpus'\?"),
        (["stages.transcribe.languages=[english]"], r"stages\.transcribe\.languages\.0: .* \(got 'english'\)"),
        (["executor.knd=ray"], r"executor\.knd: unknown key - did you mean 'kind'\?"),
        (["seed=many"], r"seed: .*integer.*'many'"),
        (["seed"], r"--set seed: write it as path\.to\.key=value"),
        (["stages.segment={a: ["], "not YAML"),
    ],
)
def test_mistakes_are_named_with_the_mend(tmp_path, sets, message):
    with pytest.raises(UsageError, match=message):
        config.load(write(tmp_path), sets=sets)


def test_contradictions_are_told_without_a_dump_of_the_section():
    both = "stages.condense.select={target_clips: 5, target_hours: 1}"
    with pytest.raises(UsageError) as raised:
        config.load("cpqa", sets=[both])
    assert str(raised.value) == (
        "recipe cpqa: stages.condense.select: target_clips and target_hours are both set: one of them decides; "
        "leave the other out"
    )


def test_unknown_recipes_get_a_suggestion():
    with pytest.raises(UsageError, match="did you mean 'cpqa'"):
        config.load("cpqaa")


def test_yaml_cannot_build_objects(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text("recipe: !!python/object/apply:os.system ['true']\nstages: {}")
    with pytest.raises(UsageError, match="cannot be read as YAML"):
        config.load(str(path))


def test_the_stored_recipe_reads_back_the_same(tmp_path):
    recipe = config.load(write(tmp_path))
    again = config.parse(yaml.safe_load(recipe.yaml()), "stored")
    assert again.document() == recipe.document()


@pytest.mark.parametrize("name", sorted(config.available()))
@pytest.mark.parametrize("profile", [None, "offline"])
def test_every_shipped_recipe_is_valid(name, profile):
    from datagen.pipeline import Pipeline

    recipe = config.load(name, profile=profile)
    pipeline = Pipeline(recipe.stages())
    assert recipe.name == name and recipe.description
    assert pipeline.order[0] == "ingest" and pipeline.order[-1] == "export"
