"""Recipes: every mistake is found before anything starts, and named by its path."""

from __future__ import annotations

import pytest
import yaml

from datagen import config
from datagen.errors import UsageError
from datagen.layers import available


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


def test_later_profiles_win(tmp_path):
    for name, seconds in (("one", 20), ("two", 25)):
        (tmp_path / f"{name}.yaml").write_text(f"stages: {{segment: {{max_seconds: {seconds}}}}}")
    one, two = str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml")
    assert config.load(write(tmp_path), profile=[one, two]).configs["segment"].max_seconds == 25
    assert config.load(write(tmp_path), profile=[two, one]).configs["segment"].max_seconds == 20


def test_a_profile_may_rest_on_others(tmp_path):
    (tmp_path / "under.yaml").write_text("{seed: 5, stages: {segment: {max_seconds: 20}}}")
    (tmp_path / "over.yaml").write_text(f"{{profiles: ['{tmp_path}/under.yaml'], seed: 6}}")
    recipe = config.load(write(tmp_path), profile=str(tmp_path / "over.yaml"))
    assert (recipe.seed, recipe.configs["segment"].max_seconds) == (6, 20)
    (tmp_path / "under.yaml").write_text(f"{{profiles: ['{tmp_path}/over.yaml']}}")
    with pytest.raises(UsageError, match="lead back to itself"):
        config.load(write(tmp_path), profile=str(tmp_path / "over.yaml"))
    (tmp_path / "over.yaml").write_text("{profiles: offline}")
    with pytest.raises(UsageError, match="profiles: must be a list"):
        config.load(write(tmp_path), profile=str(tmp_path / "over.yaml"))


MODEL = {"server": "vllm", "model": "ours", "revision": "r1", "licence": "MIT", "in_flight": 7}


def test_what_was_said_of_one_model_is_not_said_of_another(tmp_path):
    mine = write(tmp_path, llm=MODEL)
    assert config.load(mine).llm.licence == "MIT"
    theirs = config.load(mine, sets=["llm.model=theirs"]).llm
    assert (theirs.model, theirs.licence, theirs.revision, theirs.in_flight) == ("theirs", None, "", 7)
    for sets in (["llm.licence=Apache-2.0", "llm.model=theirs"], ["llm.model=theirs", "llm.licence=Apache-2.0"]):
        assert config.load(mine, sets=sets).llm.licence == "Apache-2.0"
    assert config.load(mine, sets=["llm.in_flight=8"]).llm.licence == "MIT"
    profile = tmp_path / "theirs.yaml"
    profile.write_text("llm: {model: theirs, licence: GPL-3.0}")
    assert config.load(mine, profile=str(profile)).llm.licence == "GPL-3.0"
    assert config.load(mine, profile=str(profile), sets=["llm.model=a third"]).llm.licence is None


def test_a_stage_with_a_model_of_its_own_does_not_inherit_the_licence_of_the_shared_one():
    sets = ["stages.judge.llm.model=another"]
    recipe = config.load("pallm", sets=sets)
    shared, own = recipe.configs["write"].llm, recipe.configs["judge"].llm
    assert (own.model, own.licence, own.server) == ("another", None, shared.server)
    assert shared.licence is not None
    again = config.parse(yaml.safe_load(recipe.yaml()), "stored")
    assert again.document() == recipe.document()


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["llm.server=vlm"], r"llm\.server: unknown 'vlm' - did you mean 'vllm'\?"),
        (["llm.urls=[http://host:8000/v1]"], "llm: server 'vllm' starts its own; for one that is running set server"),
        (["llm.server=endpoint"], "llm: server is 'endpoint' and urls is empty"),
        (["llm.urls=host:8000"], r"llm\.urls: host:8000: not a URL of a server, such as http://host:8000/v1"),
        (["llm.model="], "llm: model is not set: name the model"),
        (["llm.api_key=secret"], r"llm\.api_key: unknown key - did you mean 'api_key_env'\?"),
        (["llm.vllm.gpu=2"], r"llm\.vllm\.gpu: unknown key - did you mean 'gpus'\?"),
        (["stages.write.llm.most_token=2"], r"stages\.write\.llm\.most_token: unknown key"),
    ],
)
def test_mistakes_about_a_language_model_are_named(sets, message):
    with pytest.raises(UsageError, match=message) as raised:
        config.load("cpqa", sets=sets)
    assert "secret" not in str(raised.value)


def test_one_server_needs_no_brackets():
    sets = ["llm.server=endpoint", "llm.urls=http://host:8000", "llm.model=any"]
    assert (
        config.load("cpqa", sets=sets).llm.urls
        == config.load("cpqa", sets=[*sets[:1], "llm.urls=[http://host:8000]", sets[2]]).llm.urls
    )


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


@pytest.mark.parametrize("name", sorted(available()))
@pytest.mark.parametrize("profile", [None, "offline"])
def test_every_shipped_recipe_is_valid(name, profile):
    from datagen.pipeline import Pipeline

    recipe = config.load(name, profile=profile)
    pipeline = Pipeline(recipe.stages())
    assert recipe.name == name and recipe.description
    assert pipeline.order[0] == "ingest" and pipeline.order[-1] == "export"
