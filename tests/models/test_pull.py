"""Models arrive whole and as named, or not at all: the real Hub client against a hub on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import io
import json
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from hub_server import Hub, serve

from datagen import cli
from datagen.errors import RunError, UsageError
from datagen.models import https, manifest, pull
from datagen.models.manifest import RECORD, Entry, File

REPOSITORY = "someone/speech-model"
#: One file above the size from which the Hub keeps files apart, two below.
CONFIG, VOCABULARY, WEIGHTS = b'{"layers": 2}', b'{"a": 0}', bytes(range(256)) * 40
PUBLISHED = {"config.json": CONFIG, "extra/vocab.json": VOCABULARY, "model.safetensors": WEIGHTS}
LISTED = (File("config.json"), File("extra/vocab.json"), File("model.safetensors"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub, where the client finds it, with a cache folder that is empty."""
    from huggingface_hub import constants, utils

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # another test's model may have set it for good
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "no-tokens"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    utils.reset_sessions()
    monkeypatch.setenv(manifest.CACHE_VARIABLE, str(tmp_path / "models"))
    with serve() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        hub.publish(REPOSITORY, PUBLISHED | {"evil.pkl": b"cos\nsystem\n", "../../escaped.json": b"{}"})
        yield hub
    utils.reset_sessions()


def entry(*files: File, revision: str = "main", **more) -> Entry:
    return Entry("tiny", "asr", f"hf:{REPOSITORY}", revision, "MIT", files or LISTED, **more)


def plain(hub: Hub, *files: File, **more) -> Entry:
    listed = tuple(replace(file, url=f"{hub.address}/plain/{file.path}") for file in files)
    return Entry("tiny", "align", "url:", "1", "MIT", listed, **more)


def below(folder: Path) -> list[str]:
    """Every file below a folder but the lock of the puller."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir() and p.name != ".lock")


def nothing_is_left(model: Entry) -> bool:
    return below(manifest.cache_folder()) == [] and manifest.missing(manifest.cached(model)) is not None


# --- What a pull leaves behind ---------------------------------------------------------------------------------


def test_the_listed_files_arrive_and_no_others(hub):
    commit = hub.publish(REPOSITORY, PUBLISHED | {"evil.pkl": b"cos\nsystem\n", "../../escaped.json": b"{}"})
    model = entry()
    assert manifest.missing(manifest.cached(model)) == "model tiny is not here: datagen models pull tiny"
    seen = []
    record = pull.pull(model, watch=lambda here, total: seen.append((here, total)))
    home = manifest.home(model)
    assert below(manifest.cache_folder()) == sorted(f"tiny/main/{path}" for path in [*PUBLISHED, RECORD])
    assert {path: (home / path).read_bytes() for path in PUBLISHED} == PUBLISHED
    assert not any("evil" in path or "escaped" in path for path in hub.fetched())
    assert record.revision == commit
    assert json.loads((home / RECORD).read_text()) == {
        "name": "tiny", "origin": f"hf:{REPOSITORY}", "asked": "main", "revision": commit,
        "files": {path: {"size": len(data), "sha256": sha256(data)} for path, data in PUBLISHED.items()},
    }  # fmt: skip
    assert seen[-1][1] == sum(map(len, PUBLISHED.values())) <= seen[-1][0]
    assert manifest.missing(manifest.cached(model)) is None


def test_the_revision_is_the_commit_also_where_the_manifest_names_a_branch(hub):
    first = hub.publish(REPOSITORY, PUBLISHED)
    model = entry()
    assert manifest.cached(model).revision == "main"  # nobody knows better yet
    pull.pull(model)
    assert manifest.cached(model).revision == first
    second = hub.publish(REPOSITORY, PUBLISHED | {"config.json": b'{"layers": 3}'})
    assert first != second
    asked = len(hub.log)
    assert pull.pull(model).revision == first and len(hub.log) == asked  # the branch has moved, our model has not
    assert pull.pull(model, again=True).revision == second == manifest.cached(model).revision
    assert (manifest.home(model) / "config.json").read_bytes() == b'{"layers": 3}'
    assert [path.name for path in manifest.home(model).parent.iterdir() if path.name != ".lock"] == ["main"]


def test_a_pinned_commit_is_the_one_that_comes(hub):
    old = hub.publish(REPOSITORY, PUBLISHED)
    hub.publish(REPOSITORY, PUBLISHED | {"config.json": b"{}"})
    assert pull.pull(entry(revision=old)).revision == old
    assert (manifest.home(entry(revision=old)) / "config.json").read_bytes() == CONFIG
    hub.commit = "0" * 40
    with pytest.raises(RunError, match="another commit"):
        pull.pull(entry(revision=old), again=True)


def test_of_two_formats_of_the_weights_the_safer_one_is_fetched(hub):
    files = (
        File("config.json"), File("model.safetensors", optional=True),
        File("pytorch_model.bin", unless="model.safetensors"), File("tokenizer.json", optional=True),
    )  # fmt: skip
    hub.publish(REPOSITORY, PUBLISHED | {"pytorch_model.bin": b"pickle"})
    pull.pull(entry(*files))
    assert below(manifest.home(entry())) == ["config.json", RECORD, "model.safetensors"]
    hub.publish(REPOSITORY, {"config.json": CONFIG, "pytorch_model.bin": b"pickle", "tokenizer.json": b"{}"})
    pull.pull(entry(*files), again=True)
    assert below(manifest.home(entry())) == ["config.json", RECORD, "pytorch_model.bin", "tokenizer.json"]
    hub.publish(REPOSITORY, {"config.json": CONFIG})
    with pytest.raises(RunError, match=r"has no pytorch_model\.bin"):
        pull.pull(entry(*files), again=True)
    assert manifest.missing(manifest.cached(entry(*files))) is None  # what was here before still is


# --- What goes wrong on the way --------------------------------------------------------------------------------


def test_an_interrupted_pull_goes_on_where_it_stopped(hub):
    hub.cuts[f"/large/{sha256(WEIGHTS)}"] = 4500
    model = entry()
    with pytest.raises(RunError, match="the same command goes on where this stopped"):
        pull.pull(model)
    assert manifest.missing(manifest.cached(model)) and not manifest.home(model).exists()
    fetched = hub.fetched()
    pull.pull(model)
    first, second = hub.asked(sha256(WEIGHTS))
    assert "range" not in first and 3000 <= int(second["range"].removeprefix("bytes=").removesuffix("-")) <= 4500
    assert hub.fetched()[len(fetched) :] == [f"/large/{sha256(WEIGHTS)}"]  # what had arrived is not asked for again
    assert (manifest.home(model) / "model.safetensors").read_bytes() == WEIGHTS
    assert below(manifest.cache_folder()) == sorted(f"tiny/main/{path}" for path in [*PUBLISHED, RECORD])


def test_a_file_that_is_not_the_pinned_one_leaves_nothing_behind(hub):
    pinned = (*LISTED[:2], File("model.safetensors", sha256="0" * 64))
    with pytest.raises(RunError, match=r"model\.safetensors is not the file that schemas/models\.yaml names"):
        pull.pull(entry(*pinned))
    assert nothing_is_left(entry(*pinned))
    good = (*LISTED[:2], File("model.safetensors", sha256=sha256(WEIGHTS), size=len(WEIGHTS)))
    assert pull.pull(entry(*good)).files["model.safetensors"].sha256 == sha256(WEIGHTS)


def test_bytes_other_than_the_hub_promised_leave_nothing_behind(hub):
    hub.swapped[f"/large/{sha256(WEIGHTS)}"] = WEIGHTS[::-1]
    with pytest.raises(RunError, match=r"model\.safetensors is not the file that the Hub names"):
        pull.pull(entry())
    assert nothing_is_left(entry())


def test_a_file_that_the_repository_lacks_is_named_before_anything_is_fetched(hub):
    with pytest.raises(RunError, match=r"has no tokens\.txt, which schemas/models\.yaml lists"):
        pull.pull(entry(*LISTED, File("tokens.txt")))
    assert hub.fetched() == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_model_says_how_to_get_access(hub, status, monkeypatch, capfd):
    hub.gated[REPOSITORY], hub.token = status, "hf_thisIsAUsersOwnSecret"
    with pytest.raises(RunError, match=r"accept the terms.*; then log in with `hf auth login`"):
        pull.pull(entry(gated="accept the terms on its page"))
    monkeypatch.setenv("HF_TOKEN", hub.token)
    pull.pull(entry(gated="accept the terms on its page"))
    kept = b"".join(path.read_bytes() for path in manifest.cache_folder().rglob("*") if path.is_file())
    out, err = capfd.readouterr()
    assert hub.token.encode() not in kept and hub.token not in out + err
    assert {headers["authorization"] for headers in hub.asked("config.json")} == {f"Bearer {hub.token}"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"origin": "hf:nobody/nothing"}, "does not exist, or is private"),
        ({"revision": "v9"}, "has no revision v9"),
    ],
)
def test_what_the_hub_does_not_have_is_told_in_a_line(hub, changes, says):
    with pytest.raises(RunError, match=says) as told:
        pull.pull(replace(entry(), **changes))
    assert "\n" not in str(told.value)


def test_no_network_is_told_in_a_line_and_offline_asks_nobody(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set"):
        pull.pull(entry())
    assert hub.log == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RunError, match="the same command goes on") as told:
        pull.pull(entry())
    assert "\n" not in str(told.value)


def test_only_one_process_pulls_a_model_at_a_time(hub):
    folder = manifest.home(entry()).parent
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="tiny is being pulled by another process"):
            pull.pull(entry())
    assert pull.pull(entry()).files


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(hub, monkeypatch):
    usage = type("Usage", (), {"free": 5000})
    monkeypatch.setattr(pull.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(RunError, match="make room, or name another folder in DATAGEN_MODELS"):
        pull.pull(entry())
    assert hub.fetched() == []


# --- Files that have addresses of their own --------------------------------------------------------------------


def test_files_with_addresses_of_their_own_are_revised_by_their_hash(hub):
    hub.plain = {"weights.pth": WEIGHTS}
    unpinned = plain(hub, File("weights.pth"))
    first = pull.pull(unpinned).revision
    assert first.startswith("1+") and first == manifest.cached(unpinned).revision
    hub.plain = {"weights.pth": WEIGHTS[::-1]}
    assert pull.pull(unpinned, again=True).revision != first
    assert pull.pull(plain(hub, File("weights.pth", sha256=sha256(WEIGHTS[::-1]))), again=True).revision == "1"


def test_a_broken_connection_is_taken_up_where_it_broke(hub, tmp_path):
    hub.plain = {"weights.pth": WEIGHTS}
    hub.cuts["weights.pth"] = 6000
    waits = []
    https.fetch(f"{hub.address}/plain/weights.pth", tmp_path / "weights.pth", len(WEIGHTS), wait=waits.append)
    first, second = hub.asked("weights.pth")
    assert "range" not in first and second["range"] == "bytes=6000-" and waits == [0.0]
    assert (tmp_path / "weights.pth").read_bytes() == WEIGHTS and below(tmp_path) == ["weights.pth"]


def test_a_pull_of_addresses_goes_on_in_the_next_process(hub, monkeypatch):
    monkeypatch.setattr(https, "ATTEMPTS", 1)
    hub.plain, hub.cuts = {"weights.pth": WEIGHTS}, {"weights.pth": 6000}
    model = plain(hub, File("weights.pth", sha256=sha256(WEIGHTS)))
    with pytest.raises(RunError, match="the connection ended after 6,000 bytes; the same command goes on"):
        pull.pull(model)
    pull.pull(model)
    assert hub.asked("weights.pth")[1]["range"] == "bytes=6000-"
    assert below(manifest.home(model)) == [RECORD, "weights.pth"]


def test_what_changed_on_the_server_meanwhile_is_fetched_from_its_start(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(https, "ATTEMPTS", 1)
    target, url = tmp_path / "weights.pth", f"{hub.address}/plain/weights.pth"
    hub.plain, hub.cuts = {"weights.pth": WEIGHTS}, {"weights.pth": 6000}
    with pytest.raises(RunError, match="the connection ended"):
        https.fetch(url, target)
    hub.plain = {"weights.pth": WEIGHTS[::-1]}
    https.fetch(url, target)
    assert target.read_bytes() == WEIGHTS[::-1]


def test_a_file_of_another_size_or_content_leaves_nothing_behind(hub):
    hub.plain = {"weights.pth": WEIGHTS}
    for wrong in (File("weights.pth", size=9), File("weights.pth", sha256="0" * 64)):
        with pytest.raises(RunError, match=r"10,240 bytes instead of the 9|is not the file that schemas/models\.yaml"):
            pull.pull(plain(hub, wrong))
        assert nothing_is_left(plain(hub, wrong))


@pytest.mark.parametrize("unsized", [False, True])
def test_nothing_is_larger_than_it_may_be(hub, tmp_path, monkeypatch, unsized):
    monkeypatch.setattr(https, "LARGEST", 5000)
    monkeypatch.setattr(https, "_CHUNK", 1000)
    hub.unsized = unsized
    hub.plain = {"weights.pth": WEIGHTS}
    with pytest.raises(RunError, match="more than 5,000 bytes"):
        https.fetch(f"{hub.address}/plain/weights.pth", tmp_path / "weights.pth")
    assert sum(path.stat().st_size for path in tmp_path.glob("*.part")) <= 5000


@pytest.mark.parametrize("url", ["http://example.org/x", "file:///etc/passwd", "ftp://example.org/x"])
def test_files_come_over_tls_also_where_they_are_redirected_to(hub, tmp_path, url):
    with pytest.raises(RunError, match="over https only"):
        https.fetch(url, tmp_path / "x")
    hub.redirects = {"x": url}
    with pytest.raises(RunError, match=r"over https only|40\d|302"):
        https.fetch(f"{hub.address}/plain/x", tmp_path / "x")
    assert below(tmp_path) == []
    hub.redirects, hub.plain = {"x": f"{hub.address}/plain/y"}, {"y": b"here"}
    https.fetch(f"{hub.address}/plain/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"here"


def test_no_server_leads_to_one_of_this_machine():
    asked = urllib.request.Request("https://example.org/x")
    for url in ("http://127.0.0.1:8080/x", "http://localhost/x"):
        with pytest.raises(RunError, match="over https only"):
            https._OverTls().redirect_request(asked, io.BytesIO(), 302, "Found", http.client.HTTPMessage(), url)


def test_a_server_that_refuses_or_fails_is_told_with_its_answer(hub, tmp_path):
    with pytest.raises(RunError, match="404"):
        https.fetch(f"{hub.address}/plain/nothing", tmp_path / "x")
    waits = []
    with pytest.raises(RunError, match="the same command goes on"):
        https.fetch("http://127.0.0.1:9/x", tmp_path / "x", wait=waits.append)
    assert waits == [1, 2, 4, 8]


# --- Verifying -------------------------------------------------------------------------------------------------


def damage_a_byte(home: Path) -> None:
    data = bytearray((home / "model.safetensors").read_bytes())
    data[77] ^= 1
    (home / "model.safetensors").write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_a_byte, r"model\.safetensors: sha256 is"),
        (lambda home: (home / "config.json").unlink(), r"config\.json: is not there"),
        (lambda home: (home / "config.json").write_bytes(b""), r"config\.json: 0 bytes instead of 13"),
        (lambda home: (home / "extra" / "evil.pkl").write_bytes(b""), r"evil\.pkl: did not come with the model"),
        (lambda home: (home / "link").symlink_to("/etc/passwd"), r"link: did not come with the model"),
    ],
)
def test_verify_names_what_is_wrong_and_the_mend(hub, damage, says):
    pull.pull(entry())
    assert pull.verify(entry()).files.keys() == PUBLISHED.keys()
    damage(manifest.home(entry()))
    with pytest.raises(RunError, match=says) as told:
        pull.verify(entry())
    assert "datagen models pull --again tiny" in str(told.value)
    pull.pull(entry(), again=True)
    assert pull.verify(entry())


def test_a_hash_that_the_manifest_learns_later_holds_for_what_is_here(hub):
    pull.pull(entry())
    learnt = entry(*LISTED[:2], File("model.safetensors", sha256="0" * 64))
    assert "datagen models pull --again tiny" in str(manifest.missing(manifest.cached(learnt)))
    with pytest.raises(RunError, match=r"in schemas/models\.yaml it was 0000"):
        pull.verify(learnt)


def test_files_that_nobody_pulled_are_not_taken_for_the_model(hub):
    home = manifest.home(entry())
    for path, data in PUBLISHED.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_bytes(data)
    assert manifest.missing(manifest.cached(entry()))
    with pytest.raises(RunError, match="datagen models pull tiny"):
        pull.verify(entry())
    pull.pull(entry())
    assert manifest.missing(manifest.cached(entry())) is None


# --- The commands ----------------------------------------------------------------------------------------------


@pytest.fixture
def datagen(hub, monkeypatch, capfd, tmp_path):
    """``datagen("models", "pull", "tiny")`` on a manifest of one model, and one that cannot be had."""
    (tmp_path / "schemas").mkdir()
    files = "{config.json: , extra/vocab.json: , model.safetensors: }"
    (tmp_path / "schemas" / "models.yaml").write_text(
        f"models:\n  tiny: {{task: asr, origin: 'hf:{REPOSITORY}', revision: main, licence: MIT, files: {files}}}\n"
        "  other: {task: emotion, origin: 'hf:nobody/nothing', revision: main, licence: unknown, files: {a: }}\n"
    )
    monkeypatch.setattr(manifest, "folder", lambda name: tmp_path / name)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["datagen", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return int(left.value.code or 0), out, " ".join(err.split())

    return call


def test_a_model_from_nothing_to_intact(datagen, hub):
    code, out, _ = datagen("models", "list")
    assert code == 0
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if "not here" in line}
    assert rows == {
        "tiny": ["asr", "MIT", "yes", "?", "not", "here"],
        "other": ["emotion", "unknown", "no", "?", "not", "here"],
    }
    assert "no model is here" in datagen("models", "verify")[1]
    code, out, _ = datagen("models", "pull", "tiny")
    commit = manifest.cached(manifest.known("tiny")).revision
    assert code == 0 and f"tiny: here, 0.0 MB, revision {commit}" in out
    assert f"here, {commit[:12]}" in datagen("models", "list")[1]
    code, out, _ = datagen("models", "verify")
    assert code == 0 and f"tiny: intact, 3 files, revision {commit}" in out
    damage_a_byte(manifest.home(manifest.known("tiny")))
    code, _, err = datagen("models", "verify", "tiny")
    assert code == 1 and "model.safetensors: sha256 is" in err and "datagen models pull --again tiny" in err


def test_one_model_that_cannot_be_had_does_not_keep_the_others(datagen):
    code, out, err = datagen("models", "pull", "other", "tiny")
    assert code == 1 and "nobody/nothing does not exist" in err and "tiny: here" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("pull", "tinny"), "'tinny': no model and no recipe - did you mean 'tiny'?"),
        (("pull", "tiny", "othr"), "model 'othr': not in the manifest - did you mean 'other'?"),
        (("pull", "tiny", "--profile", "offline"), "--profile and --set change a recipe"),
        (("list", "--profile", "offline"), "name one: datagen models list RECIPE"),
        (("verify", "tinny"), "did you mean 'tiny'?"),
        (("list", "cpqaa"), "did you mean 'cpqa'?"),
    ],
)
def test_wrong_words_are_exit_code_2(datagen, hub, words, says):
    code, _, err = datagen("models", *words)
    assert code == 2 and says in err and hub.log == []


def test_lines_tell_rate_and_time_left():
    from datagen.cli_models import line

    assert line("tiny", 300_000_000, 900_000_000, 200_000_000, 10.0) == (
        "tiny  0.30 GB of 0.90 GB  33 %  20.0 MB/s  ETA 30 s"
    )
    assert line("tiny", 5_000_000, None, 0, 0.0) == "tiny  5.0 MB"
