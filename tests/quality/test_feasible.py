"""What cannot be had is told before the run, by the corpora's labels or by the clips."""

from __future__ import annotations

import pyarrow as pa
import pytest

from datagen import config, tables
from datagen.errors import UsageError
from datagen.foreseen import foreseen
from datagen.quality import feasible
from datagen.quality.select_config import SelectConfig
from datagen.run import Options, execute, look_at_input, open_run
from datagen.testing import speech


def sources(emotions, corpus="emodb", seconds=3.0):
    note = {"channel": None, "start": None, "end": None, "field": "emotion", "source": corpus}
    rows = [
        {"recording_id": f"{corpus}{n}", "corpus": corpus, "size_bytes": 96_000, "seconds_hint": seconds,
         "annotations": [{**note, "value": said}, {**note, "field": "speaker", "value": "angry"}] if said else None}
        for n, said in enumerate(emotions)
    ]  # fmt: skip
    return tables.from_rows(rows, tables.SOURCES)


def told(source, **settings):
    config = SelectConfig(**settings)
    return feasible.foresee(feasible.look_at(source, 32_000, config.exempt), config)


def test_an_input_sums_up_its_labels_by_the_published_names():
    both = pa.concat_tables([sources(["anger", "Wut", "sad", None]), sources(["neutral"], "other", None)])
    known = feasible.look_at(both, 32_000)
    assert known.emotions == {("emodb", "angry"): 2, ("emodb", "sad"): 1, ("other", "neutral"): 1}
    assert known.unlabelled == 1
    assert known.hours == pytest.approx((4 * 3 + 96_000 / 32_000) / 3600)


def test_fewer_hours_than_the_target():
    (line,) = told(sources(["sad"] * 1200), target_hours=2)
    assert "target_hours is 2" in line and "about 1 h" in line
    assert told(sources(["sad"] * 1200), target_hours=0.5) == []


def test_strata_that_lack_labels_are_named_the_scarcest_first():
    source = sources(["sad"] * 4 + ["happy"] * 20 + ["anger"] * 9)
    (line,) = told(source, min_per_stratum=10)
    assert "fewer of sad/emodb (4), angry/emodb (9):" in line and "happy" not in line
    assert "model may hear" not in line
    (line,) = told(pa.concat_tables([source, sources([None], "wild")]), min_per_stratum=10, strata=["emotion"])
    assert "sad (4), angry (9) (a model may hear more" in line
    assert told(source, min_per_stratum=4) == [] and told(source, min_per_stratum=10, strata=["corpus"]) == []


def test_floors_that_overfill_the_target():
    source = sources(["sad"] * 30 + ["happy"] * 30 + ["anger"] * 30)
    (line,) = told(source, min_per_stratum=20, target_clips=50)
    assert "keeps about 60 clips of 3 strata" in line
    assert told(source, min_per_stratum=20, target_clips=60) == []


def test_nothing_but_neutral():
    (line,) = told(sources(["neutral"] * 5), max_neutral_share=0.5)
    assert "all 5 emotions" in line and "no clip with an emotion" in line
    (line, _) = told(sources(["neutral"] * 5), max_neutral_share=0.5, min_per_stratum=10)
    assert "no more than 10 such clips of a stratum" in line
    assert told(sources(["neutral"] * 5 + ["sad"]), max_neutral_share=0.5) == []
    assert told(sources(["neutral"] * 5), max_neutral_share=1.0) == []


def test_exempt_corpora_fill_nothing_and_lack_nothing():
    both = pa.concat_tables([sources(["neutral"] * 20), sources(["sad"] * 4, "bench", 3600.0)])
    limits = {"max_neutral_share": 0.5, "min_per_stratum": 10, "target_hours": 1}
    assert not any(word in line for line in told(both, **limits) for word in ("target_hours", "all 20 emotions"))
    short, neutral = told(both, **limits, exempt=["bench"])  # and no word of sad/bench (4)
    assert "about 0.0167 h" in short and "all 20 emotions" in neutral


def test_shortfalls_become_one_sentence_per_limit():
    clips = tables.from_rows(
        [{"clip_id": f"c{n}", "duration": 2.0} for n in range(9)],
        pa.schema([tables.CLIPS.field("clip_id"), tables.CLIPS.field("duration")]),
    )
    emotions = pa.array(["sad"] * 2 + ["angry"] * 7)
    clips = clips.append_column("emotion", emotions)
    wanted = {"min_per_stratum": 5, "target_hours": 1, "cue_relation": {"conflict": {"min": 0.1}}}
    lines = feasible.try_out(clips, SelectConfig(strata=["emotion"], **wanted), 1)
    assert lines == [
        "select.target_hours is 1, but only 0.005 pass: the target is not reached",
        "select.cue_relation.conflict.min is 0.1, but its share is only 0",
        "select.min_per_stratum is 5, but there are fewer of sad (2)",
    ]
    assert feasible.try_out(clips, SelectConfig(strata=["emotion"], min_per_stratum=2), 1) == []


def test_gates_that_nothing_passes_are_said_before_the_run():
    clips = pa.table({"clip_id": ["a", "b", "c"], "duration": [1.0, 2.0, 9.0], "emotion": ["sad", "sad", "angry"]})
    settings = {"gates": {"duration": {"min": 10}}, "max_neutral_share": 0.5}
    lines = feasible.try_out(clips, SelectConfig(strata=["emotion"], **settings), 1)
    assert lines[0] == "select would keep no clip: gate:duration removes 3"


def test_numbers_read_like_numbers():
    lacking = [
        {"kind": "target_clips", "stratum": None, "wanted": 1_000_000, "has": 20},
        {"kind": "max_neutral_share", "stratum": None, "wanted": 0.15, "has": 0.555556},
    ]
    assert feasible.sentences(lacking) == [
        "select.target_clips is 1,000,000, but only 20 pass: the target is not reached",
        "select.max_neutral_share is 0.15, but floors and what was kept before leave a share of 0.556",
    ]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("select: {target_clips: 10, target_hours: 1}", "one of them decides"),
        ("select: {min_per_stratum: 10, max_per_stratum: 5}", "more than max_per_stratum 5"),
        ("select: {min_per_stratum: 10, target_clips: 5}", "one stratum would overfill"),
        ("select: {cue_relation: {matched: {min: 0.6}, conflict: {min: 0.6}}}", "add up to 1.2"),
        ("select: {cue_relation: {matched: {min: 0.6, max: 0.5}}}", "swap them"),
        ("select: {gates: {snr_db: {min: 30, max: 20}}}", "nothing could pass"),
        ("select: {gates: {snr: {min: 30}}}", "did you mean 'snr_db'"),
        ("select: {strata: [emotoin]}", "emotoin to stratify by"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_with_the_mend(settings, why):
    with pytest.raises(UsageError, match=why):
        config.load("cpqa", profile="offline", sets=[f"stages.condense={{{settings}}}"])


def test_largest_shares_below_one_are_refused_only_if_they_bind_all():
    shares = {name: {"max": 0.2} for name in ("matched", "conflict", "nonverbal")}
    SelectConfig(cue_relation=shares)
    with pytest.raises(ValueError, match=r"add up to 0\.8"):
        SelectConfig(cue_relation={**shares, "neutral_text": {"max": 0.2}})


def test_a_run_says_it_before_it_starts_and_again_with_the_clips(tmp_path):
    speech.corpus(tmp_path / "in", speakers=1, emotions=("angry", "neutral"), sentences=2)
    settings = ["executor.kind=local", "stages.neighbours=null", "stages.embed=null"]
    settings += ["stages.condense.dedup.semantic=false"]
    settings += ["stages.condense.select=null", "stages.condense.select={target_hours: 5, strata: [emotion]}"]
    settings += ["stages.condense.select.min_per_stratum=3"]
    recipe = config.load(
        "cpqa", profile="offline", sets=settings, overrides={"stages.ingest.input": str(tmp_path / "in")}
    )
    space = open_run(str(tmp_path / "run"), recipe)
    look_at_input(space, None, save=False)
    lines = foreseen(space)
    assert len(lines) == 2 and "the input holds about" in lines[0] and "by the corpora's own labels" in lines[1]

    said: list[str] = []
    for stage in space.pipeline.needs["condense"]:
        execute(recipe, str(tmp_path / "run"), Options(until=stage, progress="none"), said.append)
    assert [line for line in said if line in lines][:2] == lines
    again = foreseen(open_run(str(tmp_path / "run"), recipe))
    assert again[0].startswith("select.target_hours is 5, but only 0.0")
    assert "there are fewer of angry (2), neutral (2)" in again[1]
    execute(recipe, str(tmp_path / "run"), Options(until="condense", progress="none"), said.append)
    assert foreseen(open_run(str(tmp_path / "run"), recipe)) == []  # now the report says it
