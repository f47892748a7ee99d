"""The manifest says what is meant: no path leads out, every licence is judged, a revision names what is there."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from datagen import registry, run
from datagen.cli_models import _of_recipe
from datagen.config import ExecutorConfig
from datagen.errors import UsageError
from datagen.models import manifest
from datagen.models.manifest import RECORD, Entry, Fetched, File, Model, Record
from datagen.quality import licences
from datagen.stage import Output, Stage, StageConfig

TINY = Entry("tiny", "asr", "hf:someone/tiny", "main", "MIT", (File("config.json"), File("model.bin")))


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv(manifest.CACHE_VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


def fill(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    return folder


def library(module: str, file: str) -> str:
    """Source of a library's file, without importing the library."""
    spec = find_spec(module)
    assert spec is not None and spec.submodule_search_locations is not None
    return (Path(spec.submodule_search_locations[0]) / file).read_text("utf-8")


# --- The manifest that is shipped -------------------------------------------------------------------------------


def test_every_licence_of_the_manifest_is_judged_or_permits_nothing():
    known = licences.published()
    for entry in manifest.entries().values():
        assert known.find(entry.licence) or entry.licence == "unknown", entry.name
    assert known.find("unknown") is None and known.permissions("unknown") == licences.NOTHING


def test_every_entry_names_what_it_is():
    tasks = {"asr", "align", "emotion", "affect", "age_gender", "events", "diarize", "vad", "embed", "text_emotion"}
    for entry in manifest.entries().values():
        assert entry.task in tasks, entry.name
        assert all(isinstance(code, str) and re.fullmatch("[a-z]{2,3}", code) for code in entry.languages), entry.name
        assert all(file.url is None or file.url.startswith("https://") for file in entry.files), entry.name
        assert entry.memory_gb > 0, entry.name


def test_every_language_that_whisperx_aligns_has_its_model_here():
    tables = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(library("whisperx", "alignment.py")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and "DEFAULT" in node.targets[0].id
    }
    bundles, repositories = tables["DEFAULT_ALIGN_MODELS_TORCH"], tables["DEFAULT_ALIGN_MODELS_HF"]
    assert len(bundles) == 5 and len(repositories) > 30
    listed = manifest.entries()
    for language, repository in repositories.items():
        assert listed[f"align-{language}"].repository == repository
        assert listed[f"align-{language}"].languages[0] == language
    source = library("torchaudio", "pipelines/_wav2vec2/impl.py")
    for language, bundle in bundles.items():
        (file,) = listed[f"align-{language}"].files
        found = re.search(rf'^{bundle} = Wav2Vec2ASRBundle\(\s*(?:_path=)?"(.+)"', source, re.MULTILINE)
        assert found and found[1] == file.path
        assert file.url == f"https://download.pytorch.org/torchaudio/models/{file.path}"
        assert file.size and file.sha256 and file.sha256.startswith(listed[f"align-{language}"].revision)


# --- What an entry must not say ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["a/b.json", "model.safetensors", "a..b", "plda/plda.npz", "a b/ü.txt"])
def test_paths_inside_the_folder_are_fine(path):
    assert manifest.safe(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "..",
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a//b",
        "./a",
        "a/",
        "a\\..\\b",
        "c:x",
        "a\0",
        ".cache/x",
        RECORD,
    ],
)
def test_paths_that_lead_out_are_not(path):
    assert not manifest.safe(path)


@given(st.lists(st.sampled_from(["a", "b.json", "..", ".", "", "/", "\\", "~"]), max_size=5).map("/".join))
def test_what_is_safe_stays_inside_whatever_the_folder(path):
    if manifest.safe(path):
        parts = PurePosixPath("/cache/model", path).parts
        assert parts[:3] == ("/", "cache", "model") and ".." not in parts and len(parts) > 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"files": {"../../x": None}}, "leads out of the model's folder"),
        ({"revision": "refs/../../x"}, "name and revision become folders"),
        ({"revision": 1.0}, "name and revision become folders"),
        ({"origin": "hf:../x"}, "is not hf:organisation/repository"),
        ({"origin": "hf:a/b/c"}, "is not hf:organisation/repository"),
        ({"origin": "ftp:a"}, "is neither hf:organisation/repository nor url:"),
        ({"origin": "url:"}, "file 'config.json' has no url"),
        ({"files": {}}, "lists no files"),
        ({"files": {"a": {"sha256": "ABC"}}}, "64 lower-case hexadecimal digits"),
        ({"files": {"a": {"unless": "b"}}}, "unless 'b' is no other file"),
        ({"files": {"a": {"sise": 3}}}, "sise"),
        ({"licens": "MIT"}, "licens"),
    ],
)
def test_an_entry_that_cannot_be_meant_so_is_refused(monkeypatch, tmp_path, change, says):
    data: dict[str, Any] = {"task": "asr", "origin": "hf:a/b", "revision": "main", "licence": "MIT"}
    document = {"models": {"odd": data | {"files": {"config.json": None}} | change}}
    fill(tmp_path, "schemas/models.yaml").joinpath("schemas/models.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.setattr(manifest, "folder", lambda name: tmp_path / name)
    with pytest.raises(UsageError, match=re.escape(says)) as told:
        manifest.entries()
    assert str(told.value).startswith("models.yaml: odd: ")


# --- What a recipe means by a model -----------------------------------------------------------------------------


def test_a_folder_of_ones_own_is_revised_by_its_content(tmp_path):
    own = fill(tmp_path / "mine", "config.yaml", "model.pt", "tokens.txt")
    first = manifest.find(str(own), "emotion2vec_plus_large")
    assert first.own and first.folder == own.resolve() and manifest.missing(first) is None
    assert manifest.find(str(own), "emotion2vec_plus_large").revision == first.revision
    (own / "model.pt").write_text("MODEL.pt")  # the same size: only the content tells
    second = manifest.find(str(own), "emotion2vec_plus_large")
    assert second.revision != first.revision
    (own / "model.pt").rename(own / "renamed.pt")
    third = manifest.find(str(own), "emotion2vec_plus_large")
    assert third.revision not in {first.revision, second.revision}
    assert manifest.missing(third) == f"{own.resolve()} lacks model.pt, which a model like emotion2vec_plus_large has"


def test_a_folder_that_is_gone_or_misspelt_stops_a_run_and_not_a_look_at_it(tmp_path):
    gone = manifest.find(str(tmp_path / "gone"), "audeering-dim")
    assert gone.revision == manifest.ABSENT
    assert manifest.missing(gone) == f"model '{tmp_path}/gone': there is no such folder ({tmp_path.resolve()}/gone)"
    assert "whisper" not in str(manifest.missing(gone)), "a path is not compared with names"
    typo = manifest.missing(manifest.find("audering-dim", "audeering-dim"))
    assert typo == "model 'audering-dim': neither a model of the manifest nor a folder - did you mean 'audeering-dim'?"
    assert "datagen models list" in str(manifest.missing(manifest.find("x", "audeering-dim")))
    with pytest.raises(UsageError, match=r"^model 'align-en' is for align, not for affect; .* audeering-dim$"):
        manifest.find("align-en", "audeering-dim")


def test_a_folder_of_ones_own_is_not_passed_off_as_a_published_model(tmp_path):
    own = manifest.find(str(fill(tmp_path / "tuned", "model.safetensors")), "audeering-dim")
    maker = manifest.provenance(own, "arousal_raw")
    assert maker.model == "tuned" and maker.licence == "licence of tuned" and "like audeering-dim" in maker.note
    assert licences.published().permissions(maker.licence) == licences.NOTHING
    told = licences.published({maker.licence: "CC0-1.0"})  # export.licences
    assert told.permissions(maker.licence) == licences.EVERYTHING


def test_a_folder_is_hashed_once_for_all_processes_until_it_changes(cache, tmp_path, monkeypatch):
    own = fill(tmp_path / "mine", "config.yaml", "model.pt", "tokens.txt")
    monkeypatch.setattr(manifest, "SETTLED_NS", -1)
    read: list[Path] = []
    hashed = manifest.sha256
    monkeypatch.setattr(manifest, "sha256", lambda path: read.append(path) or hashed(path))

    def revision():
        manifest._digest.cache_clear()  # as another process would ask
        return manifest.find(str(own), "emotion2vec_plus_large").revision

    first = revision()
    assert len(read) == 3 and revision() == first and len(read) == 3
    (own / "model.pt").write_text("MODEL.pt")
    assert revision() != first and len(read) == 6
    for remembered in (cache / ".digests").iterdir():
        remembered.write_text("torn")
    assert len({revision(), revision(), first}) == 2 and len(read) == 9


def test_a_folder_that_was_written_just_now_is_not_taken_for_settled(cache, tmp_path):
    own = fill(tmp_path / "mine", "config.yaml", "model.pt", "tokens.txt")
    manifest.find(str(own), "emotion2vec_plus_large")
    assert not (cache / ".digests").exists()


def test_memory_is_the_manifests_unless_the_files_are_smaller(tmp_path):
    entry = manifest.known("emotion2vec_plus_large")
    assert manifest.memory_gb(Model(entry, tmp_path / "none", "main")) == entry.memory_gb > 2
    own = fill(tmp_path / "mine", "config.yaml", "model.pt", "tokens.txt")
    assert manifest.memory_gb(manifest.find(str(own), entry.name)) == pytest.approx(1.0, abs=0.01)


def test_what_is_pulled_is_known_by_its_commit(cache):
    home = fill(manifest.home(TINY), "config.json", "model.bin")
    files = {"config.json": Fetched(11, "0" * 64), "model.bin": Fetched(9, "1" * 64)}
    Record("tiny", TINY.origin, "main", "c" * 40, files).write(home / RECORD)
    assert manifest.cached(TINY).revision == "c" * 40 and manifest.missing(manifest.cached(TINY)) is None
    assert manifest.provenance(manifest.cached(TINY), "emotion").revision == "c" * 40
    moved = replace(TINY, origin="hf:another/tiny")
    assert manifest.missing(manifest.cached(moved)) == "model tiny is not here: datagen models pull tiny"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"files": {"../x": {"size": 1, "sha256": "0"}}}', '{"files": 3}'])
def test_a_record_that_cannot_be_read_is_none(cache, text):
    home = fill(manifest.home(TINY), "config.json", "model.bin")
    (home / RECORD).write_text(text)
    assert manifest.record(home) is None and "datagen models pull tiny" in str(manifest.missing(manifest.cached(TINY)))


def test_a_record_with_a_path_that_leads_out_is_none(cache):
    home = fill(manifest.home(TINY), "config.json", "model.bin")
    Record("tiny", TINY.origin, "main", "c" * 40, {"../x": Fetched(1, "0" * 64)}).write(home / RECORD)
    assert manifest.record(home) is None


def test_of_two_files_one_is_enough_where_the_manifest_says_so():
    files = (File("a"), File("new", optional=True), File("old", unless="new"), File("more", optional=True))

    def paths(there: set[str]) -> tuple[list[str], list[str]]:
        due, missed = manifest.wanted(files, there)
        return [file.path for file in due], missed

    assert paths({"a", "new", "old", "x"}) == (["a", "new"], [])
    assert paths({"a", "old", "more"}) == (["a", "old", "more"], [])
    assert paths({"new"}) == (["new"], ["a"])
    assert paths({"a"}) == (["a"], ["old"])


def test_a_gated_model_that_is_missing_says_how_to_get_access(cache):
    told = manifest.missing(manifest.cached(replace(TINY, gated="accept the terms")))
    assert told == "model tiny is not here: datagen models pull tiny (gated: accept the terms)"


# --- Stages say which models they load --------------------------------------------------------------------------


class _ListensConfig(StageConfig):
    names: tuple[str, ...] = ()


class _Listens(Stage):
    name, version, table = "listens", "1", "clips"
    Config = _ListensConfig

    def models(self) -> tuple[Model, ...]:
        return tuple(manifest.find(name, name) for name in self.config.names)

    def check(self) -> str | None:
        return next((why for model in self.models() if (why := manifest.missing(model))), None)

    def process(self, batch: pa.Table) -> Output:
        raise NotImplementedError


def preflight(**stages: Stage) -> None:
    space = SimpleNamespace(pipeline=SimpleNamespace(stages=stages), recipe=SimpleNamespace(executor=ExecutorConfig()))
    run._preflight(space, list(stages))  # type: ignore[arg-type]


def listens(*names: str) -> _Listens:
    return _Listens(_ListensConfig(names=names))


def test_what_is_missing_is_told_before_a_run_with_one_command_for_all(cache):
    with pytest.raises(UsageError) as told:
        preflight(a=listens("align-en", "align-de"), b=listens("align-de", "emotion2vec_plus_large"))
    lines = str(told.value).splitlines()
    assert lines == [
        "stage a: model align-en is not here: datagen models pull align-en",
        "stage b: model align-de is not here: datagen models pull align-de",
        "all of these models: datagen models pull align-en align-de emotion2vec_plus_large",
    ]
    with pytest.raises(UsageError, match=r"^stage a: model align-en is not here: datagen models pull align-en$"):
        preflight(a=listens("align-en"))
    preflight(a=listens())


def test_the_models_of_a_recipe_are_those_its_stages_name(cache, monkeypatch, tmp_path):
    monkeypatch.setitem(registry.BUILTIN, "listens", f"{__name__}:_Listens")
    recipe = tmp_path / "own.yaml"
    recipe.write_text("recipe: own\nstages: {listens: {names: [align-fr, align-it, align-fr]}}\n")
    assert [model.entry.name for model in _of_recipe(str(recipe), None, None)] == ["align-fr", "align-it"]
    changed = _of_recipe(str(recipe), None, ["stages.listens.names=[align-sv]"])
    assert [model.entry.name for model in changed] == ["align-sv"]


@pytest.mark.parametrize(
    ("recipe", "profile", "names"),
    [
        ("cpqa", None,
         "whisper-large-v3 align-en emotion2vec_plus_large audeering-dim audeering-age-gender-6 go-emotions"),
        ("cpqa", "permissive", "whisper-large-v3 align-en go-emotions"),
        ("cpqa", "offline", ""),
        ("full", None,
         "whisper-large-v3 align-en emotion2vec_plus_large audeering-dim audeering-age-gender-6 ast-audioset "
         "go-emotions"),
    ],
)  # fmt: skip
def test_the_models_of_the_shipped_recipes_are_all_named(cache, recipe, profile, names):
    assert [model.entry.name for model in _of_recipe(recipe, profile, None)] == names.split()


def test_aligners_are_those_of_the_languages_that_the_recipe_names(cache):
    languages = _of_recipe("cpqa", "permissive", ["stages.transcribe.languages=[de, fr]"])
    assert [model.entry.name for model in languages] == ["whisper-large-v3", "align-de", "align-fr", "go-emotions"]
    without = _of_recipe("cpqa", "permissive", ["stages.transcribe.align=false"])
    assert [model.entry.name for model in without] == ["whisper-large-v3", "go-emotions"]
