"""The report of a condensation: same artifact, same bytes; texts of strangers stay texts; no run dies of a picture."""

from __future__ import annotations

import base64
import json
import re
import struct
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from unittest.mock import patch

import pyarrow as pa
import pytest
import soundfile

from datagen import condense_report, config, drawing
from datagen.condense_report import pictures, voice
from datagen.export.card.left_out import condensation
from datagen.files import Files
from datagen.quality import condensed
from datagen.run import Options, execute
from datagen.tables import EMOTIONS
from datagen.testing.runs import memory_run
from datagen.testing.speech import synth
from tests.quality.test_condensed import ROWS, clip, figures, split

HOSTILE = '</code></td><script>alert(1)</script><img src=x onerror=alert(1)> & "quoted" \u202e $x^{2}$'


def artifact(rows=ROWS, **more):
    """As it comes back from a run's store."""
    return json.loads(json.dumps(figures(rows, ranking=["kept before", "longer"], **more)))


@pytest.fixture(scope="module")
def rich():
    """Thirty clips with everything measured, some removed."""
    emotions = ["neutral", "angry", "sad", None]
    rows = [
        clip(n, emotion=emotions[n % 4], sex="female" if n % 3 else None, arousal=n / 30, valence=1 - n / 30,
             richness=n / 30, stratum=f"s{n % 5}", text_key=f"en|text {n}", speaker=f"x/{n % 4}",
             cue_relation="matched", drop_reason="select:cap" if n % 7 == 1 else None)
        for n in range(30)
    ]  # fmt: skip
    rows += [clip(n, drop_reason="duplicate:acoustic", dup_of="c00", dup_why="longer") for n in range(30, 33)]
    return artifact(rows)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def files(tmp_path):
    return Files(str(tmp_path / "run"))


@pytest.fixture
def undrawn():
    """For tests of what is around the pictures; they take most of the time."""
    with patch.object(pictures, "draw", return_value={"voice.png": (b"png", "Voices")}) as draw:
        yield draw


@pytest.fixture(scope="module")
def drawn(rich):
    return pictures.draw(rich)


def read(files, name=condense_report.PAGE):
    return files.read(name).decode()


# --- What is written ----------------------------------------------------------------------------------------


def test_figures_pictures_and_a_page_that_needs_nothing_beside_it(files, rich):
    names = condense_report.write(files, rich)
    assert [name.rsplit("/", 1)[1] for name in names] == [
        "distributions.png", "voice.png", "strata.png", "dropped.png", "index.html", "report.json",
    ]  # fmt: skip
    assert files.read_json(condense_report.FIGURES) == rich
    page = Tags(read(files))
    shown = [base64.b64decode(value.partition(",")[2]) for key, value in page.attributes if key == "src"]
    assert shown == [files.read(name) for name in names[:4]]
    assert "33 clips, 33 h 00 min → 25 clips, 25 h 00 min" in page.text
    assert re.search(r"duplicate:acoustic\s*the same recording.*re-cut\s*3\s*3 h 00 min", page.text)
    assert "“text 0”" in page.text


def test_the_same_figures_are_the_same_bytes_in_another_process(files, rich, tmp_path):
    names = condense_report.write(files, rich)
    (tmp_path / "figures.json").write_text(json.dumps(rich))
    code = (
        "import json, sys; from datagen import condense_report; from datagen.files import Files;"
        "condense_report.write(Files(sys.argv[1]), json.load(open(sys.argv[2])))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "other"), str(tmp_path / "figures.json")], check=True)
    other = Files(str(tmp_path / "other"))
    assert [other.read(name) == files.read(name) for name in names] == [True] * 6


def chunks(png: bytes) -> list[bytes]:
    found, place = [], 8
    while place < len(png):
        length, name = struct.unpack(">I4s", png[place : place + 8])
        found.append(name)
        place += length + 12
    return found


def test_pictures_hold_no_date_and_no_version(drawn):
    for name, (data, _) in drawn.items():
        assert set(chunks(data)) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}, name


def test_pictures_show_what_changes(rich, drawn):
    """Each picture follows its figures: others give other pixels."""
    told = json.loads(json.dumps(rich))
    told["distributions"]["emotion"][0]["clips"]["after"] = 1
    told["distributions"]["stratum"][0]["hours"]["after"] = 0.5
    told["dropped_hours"]["select:cap"] = 9.0
    told["plane"]["cells"][0][-1] = 30
    other = pictures.draw(told)
    assert [drawn[name][0] != other[name][0] for name in drawn] == [True] * 4


def test_what_was_not_measured_is_left_out(files):
    files.write("report/condense/voice.png", b"of an earlier condensation")
    names = condense_report.write(files, artifact([clip(0), clip(1)]))  # no arousal: that picture is gone
    assert "report/condense/voice.png" not in names
    assert sorted(files.names(condense_report.FOLDER)) == sorted(name.rsplit("/", 1)[1] for name in names)


def test_without_valence_arousal_is_shown_by_emotion(rich, drawn):
    assert pictures.draw(rich | {"plane": None})["voice.png"][0] != drawn["voice.png"][0]


def test_words_for_arousal_and_valence_are_drawn_too():
    clips, written = split([clip(n, emotion="sad") for n in range(4)])
    for name in ("arousal", "valence"):
        clips = clips.drop_columns([name]).append_column(f"{name}_level", pa.array(["low", "high", "normal", None]))
    assert "voice.png" in pictures.draw(condensed.figures(clips, written))


@pytest.mark.parametrize("rows", [[], [clip(0)], [clip(0, duration=None, drop_reason="gate:snr_db")]])
def test_next_to_nothing_can_be_drawn(files, rows):
    assert condense_report.PAGE in condense_report.write(files, artifact(rows))


def test_many_strata_and_reasons_are_added_up(rich):
    rows = [clip(n, stratum=f"s{n}", drop_reason=f"gate:g{n}" if n % 2 else None) for n in range(90)]
    drawn = pictures.draw(artifact(rows))
    width, height = struct.unpack(">II", drawn["strata.png"][0][16:24])
    assert width == 1320 and height < 1000


def test_names_that_begin_alike_stay_different():
    names = [f"films and television series of the nineties, season {n}" for n in range(20)]
    assert len({drawing.brief(name, 18) for name in names}) == 20
    assert max(len(drawing.brief(name, 18)) for name in names) <= 18 and drawing.brief("short", 18) == "short"


def test_names_of_emotions_do_not_lie_over_each_other():
    """The middles of emotions are often close: what models hear as valence hardly differs."""
    names = sorted(set(EMOTIONS))
    corners = voice.beside(names, [(330.0 - n, 2.0 + n) for n in range(len(names))])
    assert all(left >= 0 and left + 5.8 * len(name) <= 340 for name, (left, _) in zip(names, corners, strict=True))
    heights = sorted(bottom for _, bottom in corners)
    assert min(b - a for a, b in pairwise(heights)) >= 13 and heights[0] >= 0 and heights[-1] <= 240 - 13
    [(left, bottom)] = voice.beside(["sad"], [(100.0, 100.0)])
    assert left == 107 and abs(bottom + 6.5 - 100) <= 0.5, "a name alone stands beside its dot"


def test_without_any_emotion_the_bars_still_have_a_legend():
    from matplotlib.figure import Figure

    figure = Figure()
    pictures._distributions(figure, artifact([clip(n) for n in range(4)]))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["before: 4 clips", "after: 4 clips"]


def test_the_page_speaks_in_units_and_says_what_was_looked_for(files, rich, undrawn):
    more = {
        "levels": {"acoustic": "not searched: no stage neighbours"},
        "gates": {"snr_db": {"alone": 5, "missing": 7, "removed": 4}},  # as JSON sorts them
        "shortfalls": [{"kind": "min_per_stratum", "stratum": "sad/f", "wanted": 10, "has": 3}],
        "shortfalls_in_all": 1,
    }
    condense_report.write(files, rich | more | {"before": rich["before"] | {"hours": 0.5, "neutral_share": 0.2366}})
    text = Tags(read(files)).text
    assert "30 min 00 s" in text and "23.7%" in text and "acoustic: not searched: no stage neighbours" in text
    assert re.search(r"gate\s*alone\s*removed\s*missing\s*snr_db\s*5\s*4\s*7", text)
    assert "select.min_per_stratum is 10, but there are fewer of sad/f (3)" in text


# --- Strangers' texts ---------------------------------------------------------------------------------------


def test_texts_of_strangers_stay_texts(files):
    words = dict.fromkeys(("emotion", "sex", "corpus", "speaker", "stratum", "dup_why", "speech_lang"), HOSTILE)
    rows = [clip(0, **words, text_key=f"en|{HOSTILE}"), clip(1, **words, drop_reason="duplicate:content", dup_of="c00")]
    rows.append(clip(2, **words, drop_reason=HOSTILE))
    condense_report.write(files, artifact(rows))
    text = read(files)
    page = Tags(text)
    assert set(page.tags) == {
        "html", "meta", "title", "style", "h1", "h2", "p", "img", "div", "table", "tr", "th", "td", "code", "br",
    }  # fmt: skip
    assert {name for name, _ in page.attributes} <= {
        "lang", "charset", "http-equiv", "content", "name", "class", "alt", "src",
    }  # fmt: skip
    assert "<script>alert(1)</script>" in page.text and "\u202e" not in page.text
    assert "default-src 'none'" in text and page.tags.count("img") == len(
        [name for name in files.names(condense_report.FOLDER) if name.endswith(".png")]
    )


def test_the_data_card_takes_the_figures_and_no_transcript():
    rows = [*ROWS, clip(9, text_key="en|private words", drop_reason="duplicate:content", dup_of="c00")]
    text = condensation(memory_run(clips=2, shards=1, artifacts={"condense": artifact(rows)}))
    assert "| clips | 7 | 5 | 4 |" in text and "| time | 7 h 00 min | 5 h 00 min | 4 h 00 min |" in text
    assert "| `duplicate:content` | the same samples as a clip that stays | 2 | 2 h 00 min |" in text
    assert "private words" in json.dumps(artifact(rows)) and "private" not in text and "c09" not in text


def test_the_data_card_tells_gates_and_limits_in_words_and_no_inner_figures(rich):
    more = {
        "gates": {"snr_db": {"alone": 5, "missing": 7, "removed": 4}},
        "shortfalls": [{"kind": "min_per_stratum", "stratum": HOSTILE, "wanted": 10, "has": 3}],
        "solved": {"passed_gates": 30},
    }
    text = condensation(memory_run(clips=2, shards=1, artifacts={"condense": rich | more}))
    assert "| gate | alone | removed | missing |" in text and "| `snr_db` | 5 | 4 | 7 |" in text
    assert "- select.min_per_stratum is 10, but there are fewer of" in text
    assert "<script" not in text and "passed_gates" not in text


# --- In a run -----------------------------------------------------------------------------------------------


def test_it_is_drawn_once_per_artifact(files, rich, undrawn):
    said: list[str] = []
    condense_report.refresh(files, rich, said.append)
    condense_report.refresh(files, rich, said.append)
    assert said == [] and undrawn.call_count == 1
    condense_report.refresh(files, artifact(), said.append)
    assert undrawn.call_count == 2
    assert files.read_json(condense_report.FIGURES)["before"]["clips"] == len(ROWS)


def test_a_failure_to_draw_is_said_and_tried_again(files, rich, undrawn):
    said: list[str] = []
    undrawn.side_effect = RuntimeError("no font")
    condense_report.refresh(files, rich, said.append)
    assert said == ["the report of condense could not be written: RuntimeError: no font"]
    undrawn.side_effect = None
    condense_report.refresh(files, rich, said.append)
    assert len(said) == 1 and files.exists(condense_report.PAGE)


def test_what_is_no_condensation_of_this_version_is_passed_over(files):
    said: list[str] = []
    condense_report.refresh(files, {"before": {"clips": 1}, "after": {"clips": 1}}, said.append)
    assert said == [] and not files.exists(condense_report.PAGE)
    assert condense_report.summary({"before": {"clips": 1}}) == []


def test_the_summary_says_how_much_better_balanced_it_is():
    assert condense_report.summary(artifact()) == [
        "6 clips, 6 h 00 min -> 4 clips, 4 h 00 min",
        "neutral 50% -> 50%; evenness of emotions 0.90 -> 0.75; of strata 1.00 -> 0.77",
    ]
    assert condense_report.summary(artifact([clip(0)])) == ["1 clip, 1 h 00 min -> 1 clip, 1 h 00 min"]


def test_the_summary_says_which_limits_are_not_met_and_what_a_grown_corpus_changed():
    shortfalls = [
        {"kind": "max_neutral_share", "stratum": None, "wanted": 0.15, "has": 0.5},
        {"kind": "min_per_stratum", "stratum": "sad/f", "wanted": 10, "has": 3},  # small strata are no news
    ]
    change = {"still_kept": 3, "kept_before": 4, "added_of_new": 1, "new_clips": 1_200}
    told = condense_report.summary(artifact() | {"shortfalls": shortfalls, "change": change})[2:]
    assert told == [
        "since the last selection: 3 of 4 clips stay, 1 of 1,200 new ones are added",
        "not met: select.max_neutral_share is 0.15, but floors and what was kept before leave a share of 0.5",
    ]


def test_a_run_ends_with_its_report(tmp_path, capsys):
    from datagen import report

    folder = tmp_path / "in"
    folder.mkdir()
    for name, syllables in (("a", 8), ("b", 4), ("c", 8)):
        soundfile.write(folder / f"{name}.wav", synth(syllables, seed=1)[0], 16000)
    recipe = config.parse({
        "recipe": "small", "executor": {"kind": "local"},
        "stages": {"ingest": {"input": str(folder)}, "segment": {"method": "given"},
                   "condense": {"dedup": {"acoustic": False, "semantic": False}}},
    }, "small")  # fmt: skip
    said: list[str] = []
    space, outcome = execute(recipe, str(tmp_path / "run"), Options(progress="none"), said.append)
    assert space.files.read_json(condense_report.FIGURES)["dropped"] == {"duplicate:content": 1}
    report.finished(space, outcome)
    told = capsys.readouterr().out
    assert re.search(r"condensed  3 clips, \d+ s -> 2 clips, \d+ s\n", told) and "report/condense/index.html" in told
    assert not any("could not be written" in line for line in said)
    assert report.status(space) and "condensed  3 clips" in capsys.readouterr().out
