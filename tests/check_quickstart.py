"""Is what `make quickstart` made a dataset as promised? Run by `.ci/run` after it.

    python tests/check_quickstart.py RUN LOG

RUN is the run's folder, LOG what the command printed. Exits 1 with all that is wrong.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CLIPS = ROOT / "examples" / "clips"
DUPLICATE = ("reuploads", "reuploads/reading_excerpt.mp3")
ORIGINAL = ("librispeech", "librispeech/3080-5032-0001.flac")
BROKEN = ("reuploads", "reuploads/failed_download.wav")
TASKS = ("classification", "qa", "reasoning", "response")
QUESTION_TYPES = {"content", "emotion", "voice", "content+emotion", "content+voice"}


def rows(dataset: Path, config: str, *, audio: bool = False) -> list[dict[str, Any]]:
    """All splits of a config, loaded as a user loads them."""
    import datasets

    datasets.disable_progress_bars()
    found = []
    for part in datasets.load_dataset(str(dataset), config).values():
        part = part.cast_column("audio", datasets.Audio(decode=False)) if audio else part.remove_columns("audio")
        found += list(part)
    return found


def run_readme() -> None:
    """What README says about loading works as printed."""
    page = (ROOT / "README.md").read_text("utf-8")
    snippet = page.split("```python\n")[1].split("```")[0]
    exec(compile(snippet, "README.md", "exec"), {})


def problems(run: Path, log: str) -> list[str]:
    import soundfile

    from datagen.config import load
    from datagen.reader import all_rejects
    from datagen.readers.rows import recording_id
    from datagen.run import open_run

    wrong: list[str] = []

    def expect(holds: bool, claim: str) -> None:
        if not holds:
            wrong.append(claim)

    expect("conservation holds" in log, "the run says that conservation holds")
    expect("dataset" in log and "next" in log, "the run says where the dataset is and what to try next")
    expect("Traceback" not in log, "no traceback is printed")

    dataset = run.resolve() / "dataset"
    if not dataset.is_dir():
        return [*wrong, f"there is a dataset in {dataset}"]
    expect((dataset / "README.md").is_file(), "there is a data card")
    clips = rows(dataset, "clips", audio=True)
    sources = [json.loads(line) for line in (CLIPS / "metadata.jsonl").read_text("utf-8").splitlines()]
    recordings = Counter(clip["recording_id"] for clip in clips)
    corpora = Counter(clip["corpus"] for clip in clips)
    expect(set(corpora) <= {row["corpus"] for row in sources}, f"corpora are those of the input: {dict(corpora)}")
    missing = [
        row["file_name"]
        for row in sources
        if recording_id(row["corpus"], row["file_name"]) not in recordings
        and (row["corpus"], row["file_name"]) not in (DUPLICATE, ORIGINAL, BROKEN)
    ]
    expect(not missing, f"every recording that is neither broken nor a copy has clips; without: {missing}")
    expect(
        recording_id(*ORIGINAL) in recordings and recording_id(*DUPLICATE) not in recordings,
        "of the reading and its re-encoded copy the original is kept and the copy is not",
    )
    expect(all(clip["duration"] <= 30 for clip in clips), "no clip is longer than 30 s")
    long = [row for row in sources if row["corpus"] == "librivox"]
    expect(
        all(recordings[recording_id("librivox", row["file_name"])] >= 2 for row in long),
        "long readings are cut into several clips",
    )
    for clip in clips:
        samples, rate = soundfile.read(io.BytesIO(clip["audio"]["bytes"]))
        expect(
            rate == 16_000 and abs(len(samples) / rate - clip["duration"]) < 0.01,
            f"clip {clip['clip_id']} decodes to its duration at 16 kHz",
        )

    groups: dict[str, set[str]] = {}
    for clip in clips:
        if clip["contrast_group_id"]:
            groups.setdefault(clip["contrast_group_id"], set()).add(clip["emotion_raw"])
    thorsten = max(groups.values(), key=len, default=set())
    expect(
        {"amused", "angry", "disgusted", "neutral", "surprised", "whisper"} <= thorsten,
        f"the sentence said in eight ways is one contrast group; its largest group holds {sorted(map(str, thorsten))}",
    )
    expect(any(clip["transcript"] for clip in clips if clip["corpus"] == "librispeech"), "untold words are recognised")
    expect(all(clip["emotion"] is None for clip in clips if clip["corpus"] == "librispeech"), "no emotion is invented")
    expect(all(clip["commercial_ok"] for clip in clips), "all clips may be used commercially")

    ids = {clip["clip_id"] for clip in clips}
    types: set[str] = set()
    routes: dict[str, set[str]] = {"sft": set(), "rl": set()}
    for task in TASKS:
        samples = rows(dataset, task)
        expect(len(samples) >= 5, f"there are at least 5 samples of task {task}; there are {len(samples)}")
        expect({s["mode"] for s in samples} == {"explicit", "implicit"}, f"task {task} has both modes")
        expect({s["clip_id"] for s in samples} <= ids, f"samples of task {task} belong to published clips")
        expect(all(s["evidence"] for s in samples), f"every sample of task {task} says what it rests on")
        expect(
            all((s["metadata_context"] is None) == (s["mode"] == "implicit") for s in samples),
            f"task {task} shows metadata in explicit mode, and only there",
        )
        if task == "qa":
            types = {s["question_type"] for s in samples}
        for sample in samples:
            if sample["route"] in routes:
                routes[sample["route"]].add(sample["clip_id"])
    expect(types == QUESTION_TYPES, f"all five types of questions are asked: {sorted(types)}")
    expect(not routes["sft"] & routes["rl"], "sft and rl share no clip")
    expect(bool(routes["sft"]) and bool(routes["rl"]), "both routes have samples")

    quality = json.loads((dataset / "quality.json").read_text("utf-8"))
    expect(quality["samples"] >= 100 and bool(quality["gates"]), "quality.json holds figures and gates")
    unsound = {"unchecked_leaks", "unchecked_evidence", "shared_speakers", "shared_recordings", "sft_rl_clips"}
    expect(not unsound & {*quality["failed"], *quality["not_measured"]}, f"these gates are passed: {sorted(unsound)}")
    asked = [s for task in TASKS for s in rows(dataset, task) if s["audio_contribution"] or s["judge_score"]]
    expect(not asked, "nothing is said about what only a language model could have told")

    space = open_run(str(run), load("cpqa", profile="offline", overrides={"stages.ingest.input": str(CLIPS)}))
    rejects = all_rejects(space.plan, space.store).to_pylist()
    expect(
        [row["id"] for row in rejects] == [recording_id(*BROKEN)],
        f"the broken file, and nothing else, is rejected: {[(r['id'], r['error_class']) for r in rejects]}",
    )
    return wrong


def main() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"  # a mistake here must not ask the network
    run, log = Path(sys.argv[1]), Path(sys.argv[2])
    wrong = problems(run, log.read_text("utf-8"))
    run_readme()
    for claim in wrong:
        print(f"does not hold: {claim}")
    if wrong:
        raise SystemExit(1)
    print("quickstart: the dataset is as promised")


if __name__ == "__main__":
    main()
