"""Importing the package is cheap, told by what gets imported and not by a clock; what is imported is declared."""

from __future__ import annotations

import ast
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import datagen
from datagen.testing import speech

ROOT = Path(__file__).parent.parent
HEAVY = {
    "av", "datasets", "faiss", "faster_whisper", "fsspec", "jinja2", "jsonschema", "matplotlib", "numpy", "onnxruntime",
    "pandas", "pocketsphinx", "pyarrow", "ray", "scipy", "sentence_transformers", "soundfile", "soxr", "torch",
    "transformers", "vllm", "whisperx", "funasr", "ctranslate2", "pyannote", "torchaudio", "nltk", "omegaconf",
    "safetensors", "tokenizers", "huggingface_hub",
}  # fmt: skip
#: What any module of the package may load when imported; the rest waits until it is needed.
ALLOWED_BELOW_TOP = {"numpy", "pyarrow", "jinja2", "jsonschema", "fsspec", "soundfile", "soxr"}

#: Libraries that a declared one always brings: torch by sentence-transformers, onnxruntime by faster-whisper, ...
BROUGHT_ALONG = {
    "torch", "transformers", "onnxruntime", "huggingface-hub", "click", "pandas", "ctranslate2", "tokenizers",
    "safetensors", "omegaconf", "pyannote-audio", "pyannote-core", "pyannote", "nltk",
}  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after ``statement``."""
    code = f"import sys; {statement}; import json; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    return set(json.loads(done.stdout))


def modules() -> list[str]:
    return [m.name for m in pkgutil.walk_packages(datagen.__path__, "datagen.") if not m.name.endswith("__main__")]


def test_import_datagen_loads_nothing_but_the_standard_library() -> None:
    grown = loaded_by("import datagen") - loaded_by("pass")
    assert not grown & HEAVY
    assert len(grown) < 60


def test_the_command_line_starts_without_engines_and_models() -> None:
    assert not loaded_by("import datagen.cli") & (HEAVY - {"fsspec", "numpy", "pyarrow"})


def test_no_module_imports_an_engine_or_a_model_library_by_itself() -> None:
    names = modules()
    assert len(names) > 20
    code = (
        "import importlib, json, sys\n"
        f"heavy, guilty = set({sorted(HEAVY - ALLOWED_BELOW_TOP)!r}), {{}}\n"
        f"for name in {names!r}:\n"
        "    before = set(sys.modules)\n"
        "    importlib.import_module(name)\n"
        "    if found := sorted((set(sys.modules) - before) & heavy):\n"
        "        guilty[name] = found\n"
        "print(json.dumps(guilty))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=200)
    # pandas comes with the first `pa.array` of Python values: at module level that costs half a second.
    assert json.loads(done.stdout) == {}


def test_every_library_imported_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {plain(re.split(r"[\[<>=!~; ]", line)[0]) for line in project["dependencies"]}
    extras = project["optional-dependencies"]
    optional = {plain(re.split(r"[\[<>=!~; ]", line)[0]) for line in [*extras["s3"], *extras["models"]]}
    owners = packages_distributions()
    wanted: dict[str, set[str]] = {}
    for file in (ROOT / "datagen").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for top in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"datagen"}:
                wanted.setdefault(top, set()).add(file.name)
    missing = {
        top: sorted(files)
        for top, files in wanted.items()
        if not {plain(owner) for owner in owners.get(top, [top])} & (declared | optional | BROUGHT_ALONG)
    }
    assert missing == {}


def test_the_lists_of_pins_hold_every_declared_dependency_and_no_index() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {plain(re.split(r"[\[<>=!~; ]", line)[0]) for line in project["dependencies"]}
    for name in ("embedded", "dev", "main"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
        pinned = {plain(line.split("==")[0]) for line in text.splitlines() if "==" in line}
        assert declared <= pinned, f"run `make lock`: {name}.txt lacks {sorted(declared - pinned)}"
        assert "://" not in text
        assert "+cpu" not in text


def plain(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_an_embedded_run_needs_torch_for_sentence_embeddings_only(tmp_path: Path) -> None:
    """Everything up to the calibrated words runs without torch; with ``embed`` it comes, so the test can fail."""
    speech.corpus(tmp_path / "in", speakers=1, emotions=("angry", "neutral"), sentences=1)
    code = (
        "import sys\nfrom datagen import config\nfrom datagen.run import Options, execute\n"
        "recipe = config.load('cpqa', profile='offline', overrides={'stages.ingest.input': sys.argv[1],"
        " 'executor.kind': 'local'})\n"
        "for until in ('describe', 'embed'):\n"
        "    execute(recipe, sys.argv[2], Options(until=until, progress='none'), lambda said: None)\n"
        "    print(until, 'torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "in"), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.stdout.split() == ["describe", "False", "embed", "True"], done.stdout + done.stderr
