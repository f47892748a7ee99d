"""The data card: true, complete, machine-readable, and deaf to what strangers write into their data."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from datagen import escape
from datagen.export import card, pictures
from datagen.stages.export import Export, ExportConfig
from datagen.testing.runs import MemoryRun, memory_run

HOSTILE = (
    "<script>alert(1)</script>",
    "</details><img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/pixel.png)",
    "a | b | c",
    "``` \n\n# heading\n\n---\nlicense: mit\n---\n",
    "`code` ``more``",
    "$\\frac{1}{0}$ $x^",
    "line\r\nbreak\u2028and\u0085more\x00\x1b[31m\u202egnp.exe",
    "---",
    "{{ 7*7 }} {% raw %}",
    "*bold* _it_ ~~no~~ @everyone",
)
FIELDS = ("corpus", "speaker", "licence", "emotion_raw", "style", "transcript", "stratum")


def export(run: MemoryRun, out: Path, *, figures: bool = False, **config: Any) -> str:
    with nullcontext() if figures else patch.object(pictures, "draw", return_value=[]):  # they take most of the time
        Export(ExportConfig(**config)).write(run, out)
    return (out / "README.md").read_text("utf-8")


def parts(readme: str) -> tuple[dict[str, Any], str]:
    """Front matter, found by the rule the Hub uses, and the rest."""
    found = re.match(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\r|\n|$))", readme)
    assert found
    return yaml.safe_load(found.group(2)), readme[found.end() :]


def html(text: str) -> str:
    """As a permissive renderer shows it: raw HTML allowed, tables and struck-through text on."""
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


@pytest.fixture(scope="module")
def run() -> MemoryRun:
    return memory_run(clips=24, shards=3)


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("card") / "out"
    export(
        run,
        out,
        figures=True,
        title="Harbour voices",
        description="Read at night.",
        citation="@misc{x, title={Harbour}}",
    )
    return out


def readme(folder: Path) -> str:
    return (folder / "README.md").read_text("utf-8")


# --- For machines -------------------------------------------------------------------------------------------


def test_the_hubs_own_parser_reads_the_metadata(folder):
    from huggingface_hub import DatasetCard

    data = DatasetCard(readme(folder)).data
    assert data.pretty_name == "Harbour voices"
    assert data.language == ["de", "en"] and "audio" in data.tags
    assert data.size_categories == ["n<1K"] and data.license == "other"
    assert data.annotations_creators == ["expert-generated", "machine-generated"]
    assert [config["config_name"] for config in data.configs] == [
        "clips",
        "classification",
        "qa",
        "reasoning",
        "response",
    ]
    assert [bool(config.get("default")) for config in data.configs] == [True, False, False, False, False]


def test_dataset_info_agrees_with_the_files(folder):
    import datasets
    import pyarrow.parquet as pq

    meta, _ = parts(readme(folder))
    for info in meta["dataset_info"]:
        config = info["config_name"]
        paths = sorted((folder / config).iterdir())
        assert info["download_size"] == sum(path.stat().st_size for path in paths)
        for split in info["splits"]:
            rows = [pq.read_metadata(path).num_rows for path in paths if path.name.startswith(split["name"])]
            assert split["num_examples"] == sum(rows)
        listed = datasets.Features._from_yaml_list(info["features"])
        assert listed == datasets.Features.from_arrow_schema(pq.read_schema(paths[0]))


@pytest.mark.parametrize(
    ("licences", "makers", "expected"),
    [
        (("CC0-1.0", "CC0-1.0"), [], "cc0-1.0"),
        (("CC-BY-NC-SA-4.0", "CC BY-NC-SA 4.0"), [], "cc-by-nc-sa-4.0"),
        (("CC0-1.0", "CC-BY-4.0"), [], "other"),
        (("CC0-1.0", None), [], "other"),
        (("mine", "mine"), [], "other"),
        (("CC0-1.0", "CC0-1.0"), [{"model": "m", "licence": "CC-BY-NC-4.0", "columns": ["emotion"]}], "other"),
        (("CC0-1.0", "CC0-1.0"), [{"model": "m", "licence": "MIT", "columns": ["emotion"]}], "cc0-1.0"),
    ],
)
def test_one_licence_is_named_only_if_it_holds_for_every_row(tmp_path, licences, makers, expected):
    changes = {number: {"licence": licence} for number, licence in enumerate(licences)}
    run = memory_run(clips=2, shards=1, split=False, changes=changes, provenance=makers)
    meta, _ = parts(export(run, tmp_path / "out"))
    assert meta["license"] == expected
    assert (tmp_path / "out" / meta.get("license_link", "LICENSE.md")).is_file()


# --- For people ---------------------------------------------------------------------------------------------


def test_it_tells_what_it_is_and_how_it_was_made(folder):
    text = readme(folder)
    for wanted in (
        "Read at night.", "24 clips of speech", "2 corpora", "| `ingest` | 25 | 24 | 1 | 0 |", "template writer",
        "`DecodeError` | 1 |", "| `samples` | route: drop | 24 |", "| angry | 6 |", "normalised entropy 1.000",
        "backend: template", "@misc{x, title={Harbour}}", "`dominance`", "| `qa` | `implicit` | `train` | 16 |",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert "Not for publication" not in text


def test_every_published_column_is_explained(folder):
    from datagen.export import published

    text = readme(folder)
    for column in published.columns():
        assert f"| `{column.name}` | `{column.type_name()}` | {column.unit} | {column.about} |" in text


def test_it_warns_first_thing_when_rows_may_not_be_passed_on(tmp_path):
    run = memory_run(clips=4, shards=1, changes={0: {"licence": "research-only"}})
    text = export(run, tmp_path / "all")
    title, warning = [line for line in parts(text)[1].splitlines() if line][:2]
    assert title.startswith("# ") and warning.startswith("> **Not for publication.** 6 rows")
    text = export(run, tmp_path / "open", require=("redistribute_audio", "redistribute_labels"))
    assert "Not for publication" not in text and "not permitted: redistribute_audio" in text


def test_it_says_first_thing_what_may_not_be_used_commercially_and_whose_fault_that_is(tmp_path):
    maker = {"stage": "affect", "model": "audeering-dim", "revision": "1", "licence": "CC-BY-NC-SA-4.0",
             "columns": ["arousal"], "note": "", "config_hash": "c"}  # fmt: skip
    run = memory_run(clips=4, shards=1, provenance=[maker])
    said = [line for line in parts(export(run, tmp_path / "all"))[1].splitlines() if line][1]
    assert said.startswith("> **Not") and "for commercial use.**" in said and "audeering-dim (CC-BY-NC-SA-4.0)" in said
    assert "template" not in said and "harbour" not in said, "only who forbids it is named"
    free = export(run, tmp_path / "free", require=("commercial",))
    assert "for commercial use.**" not in free


def test_permissions_are_told_per_corpus_and_model(tmp_path):
    makers = [
        {"stage": "emotion", "model": "emotion2vec", "revision": "v2", "licence": "FunASR-Model-License",
         "columns": ["emotion"], "note": "", "config_hash": "c"},
        {"stage": "affect", "model": "mystery", "revision": None, "licence": None, "columns": ["arousal"], "note": ""},
    ]  # fmt: skip
    export(memory_run(clips=4, shards=1, provenance=makers), tmp_path / "out")
    text = (tmp_path / "out" / "LICENSE.md").read_text("utf-8")
    assert "CC-BY-4.0 | yes | yes | yes | yes | no |" in text
    assert "FunASR-Model-License | yes | yes | yes | no | no |" in text
    assert "unknown (not known here) | no | no | no | no | no |" in text
    assert "nothing is said about commercial use" in text


def test_the_recipe_shows_no_secret_and_no_folder_of_a_machine(tmp_path):
    recipe = {
        "input": "/home/jane/speech",
        "stages": {"write": {"api_key": "sk-123", "api_key_env": "LLM_KEY", "model": "C:\\Users\\me\\model", "n": 3}},
        "more": ["~/private/list.txt", "file:///srv/data/x.wav", "s3://user:pass@bucket/speech", Path("/srv/a")],
    }
    text = export(memory_run(clips=2, shards=1, recipe=recipe), tmp_path / "out")
    for hidden in ("jane", "sk-123", "Users", "private", "srv", "pass@"):
        assert hidden not in text, hidden
    for shown in ("…/speech", "…/model", "LLM_KEY", "s3://bucket/speech", "n: 3"):
        assert shown in text, shown


def test_where_it_ran_does_not_change_the_card(tmp_path):
    plain = {"stages": {"write": {"writer": "template"}}}
    placed = {"stages": {"write": {"writer": "template", "resources": {"cpus": 4}}}, "executor": {"kind": "ray"}}
    cards = [
        export(memory_run(clips=2, shards=1, recipe=recipe), tmp_path / str(number))
        for number, recipe in enumerate((plain, placed))
    ]
    assert cards[0] == cards[1] and "writer: template" in cards[0]


def test_condensation_is_reported_when_there_was_one(tmp_path):
    artifacts = {
        "condense": {
            "before": {"clips": 40, "entropy": 0.51, "strata": {"sad": 30}},
            "after": {"clips": 24, "entropy": 0.93, "strata": {}},
            "dropped": {"content": 16},
            "examples": [{"clip_id": "a"}],
        }
    }
    text = export(memory_run(clips=2, shards=1, artifacts=artifacts), tmp_path / "out")
    for line in ("`clips` | 40 | 24", "`entropy` | 0.51 | 0.93", "`strata.sad` | 30 | -", "`dropped.content` | 16"):
        assert f"| {line} |" in text


# --- Snippets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("audio", ["embed", "clips"])
def test_the_code_on_the_card_runs(run, tmp_path, monkeypatch, audio):
    import datasets

    (snippet,) = re.findall(r"```python\n(.*?)```", export(run, tmp_path / "out", audio=audio), re.DOTALL)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    names: dict[str, Any] = {}
    exec(compile(snippet.replace(card.PLACE, str(tmp_path / "out")), "README.md", "exec"), names)
    assert names["items"].num_rows == 32
    assert len(names["samples"]) == round(names["items"][0]["duration"] * names["rate"])


# --- Strangers' texts ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    changes = {
        number: dict.fromkeys(FIELDS, text) | {"speech_lang": text, "emotion": text if number % 2 else "sad"}
        for number, text in enumerate(HOSTILE)
    }
    makers = [
        {"stage": "write", "model": text, "revision": text, "licence": text, "columns": [text], "note": text,
         "config_hash": text}
        for text in HOSTILE
    ]  # fmt: skip
    run = memory_run(
        clips=len(HOSTILE),
        shards=2,
        changes=changes,
        provenance=makers,
        recipe={text: text for text in HOSTILE},
        counts=[{"name": text, "rows_in": 1, "ok": 1, "rejected": 0, "dropped": 0} for text in HOSTILE],
        artifacts={"condense": {"before": {text: text for text in HOSTILE}} | {text: text for text in HOSTILE}},
    )
    out = tmp_path_factory.mktemp("hostile") / "out"
    return export(
        run, out, figures=True, title=HOSTILE[0], description=HOSTILE[5], citation=HOSTILE[5], consent=HOSTILE[1]
    )


def test_hostile_text_cannot_add_metadata(hostile):
    meta, _ = parts(hostile)
    assert meta["license"] == "other" and "language" not in meta
    assert meta["pretty_name"] == HOSTILE[0]


def test_hostile_text_cannot_add_markup(hostile):
    page = html(parts(hostile)[1])
    tags = {name.lower() for name in re.findall(r"<\s*([A-Za-z][A-Za-z0-9]*)", page)}
    assert tags <= {
        "h1", "h2", "h3", "p", "a", "img", "table", "thead", "tbody", "tr", "th", "td", "code", "pre", "strong", "em",
        "ul", "li", "blockquote", "details", "summary",
    }  # fmt: skip
    assert set(re.findall(r'<img src="([^"]*)"', page)) == {f"figures/{n}.png" for n in ("balance", "voice", "samples")}
    assert set(re.findall(r'<a href="([^"]*)"', page)) <= {"#permissions", "LICENSE.md"}
    assert "onerror" not in re.sub(r"&lt;.*?&gt;", "", re.sub(r"<code.*?</code>", "", page, flags=re.DOTALL))


def test_hostile_text_cannot_break_tables_or_sections(hostile, folder):
    def shape(text: str) -> list[str]:
        return re.findall(r"<h[123]>(.*?)</h[123]>", html(parts(text)[1]))

    usual = shape(readme(folder))
    found = [title for title in shape(hostile) if title != "Condensation"]
    assert found[1:] == usual[1:]
    for row in re.findall(r"<tr>(.*?)</tr>", html(parts(hostile)[1]), re.DOTALL):
        assert row.strip()
    widths = [
        len(re.findall("<th", head)) for head in re.findall(r"<thead>(.*?)</thead>", html(parts(hostile)[1]), re.DOTALL)
    ]
    bodies = re.findall(r"<tbody>(.*?)</tbody>", html(parts(hostile)[1]), re.DOTALL)
    for width, body in zip(widths, bodies, strict=True):
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL):
            assert len(re.findall("<td", row)) == width
    # A cell too many is cut off by renderers, so count in the source as well.
    lines = [line for line in hostile.splitlines() if line.startswith("| ")]
    for head, *_ in re.findall(r"(?m)^(\| .* \|)\n(\| -)", hostile):
        assert head in lines


def test_control_and_direction_marks_are_gone(hostile):
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", hostile)


@given(st.text(max_size=80))
def test_any_text_stays_text(text):
    shown = escape.markdown(text, 500)
    assert "\n" not in shown and "|" not in shown
    page = html(f"x {shown} x")
    assert set(re.findall(r"<\s*/?\s*([A-Za-z]+)", page)) == {"p"}
    assert page.count("<td") == 0


@given(st.text(alphabet="`~ab|\n ", max_size=40))
def test_code_spans_and_blocks_cannot_be_closed_from_within(text):
    page = html(f"x {escape.code(text)} x")
    assert page.count("<code>") == 1 and page.startswith("<p>x <code>")
    page = html(escape.block(text + "\n<b>"))
    assert page.count("<pre>") == 1 and "<b>" not in page
