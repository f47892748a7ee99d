"""The wheel is complete: installed alone, from any folder, it has its recipes and makes a dataset."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from datagen.testing.speech import corpus

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path, **extra: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}} | extra
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def interpreter(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a new environment: the wheel installed for good, its dependencies lent from this one."""
    folder = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=folder,
    )
    # Appended after its own packages, and without running the .pth files there: the checkout stays out of sight.
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def test_the_wheel_holds_recipes_prompts_and_schemas_but_no_tests_or_clips(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("pipelines", "prompts", "schemas"):
        for file in (ROOT / folder).rglob("*"):
            if file.is_file():
                assert f"datagen/_data/{folder}/{file.relative_to(ROOT / folder).as_posix()}" in names
    assert "datagen/_data/pipelines/cpqa.yaml" in names
    tops = {name.split("/")[0] for name in names}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"datagen"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_checkout_is_out_of_sight(interpreter: Path, tmp_path: Path) -> None:
    where = run(interpreter, "-c", "import datagen; print(datagen.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(interpreter.parent.parent)


def test_recipes_are_found_from_any_folder(interpreter: Path, tmp_path: Path) -> None:
    listed = run(interpreter.parent / "datagen", "recipes", "list", cwd=tmp_path)
    for name in ("cpqa", "pallm", "emotion_reasoning", "paras2s", "full"):
        assert name in listed


def test_a_folder_of_wavs_becomes_a_dataset(interpreter: Path, tmp_path: Path) -> None:
    corpus(tmp_path / "wavs", speakers=4, emotions=("sad", "angry"), sentences=1, suffix="wav")
    run(
        interpreter.parent / "datagen", "run", "cpqa", "--profile", "offline", "--input", "wavs", "--output", "made",
        "--set", "executor.kind=local", cwd=tmp_path,
    )  # fmt: skip
    assert list((tmp_path / "made").rglob("*-00000-of-*.parquet"))
