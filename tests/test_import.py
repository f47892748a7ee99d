"""Importing the package is cheap: told by what gets imported, not by a clock."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import datagen

HEAVY = {
    "av", "datasets", "faiss", "faster_whisper", "fsspec", "jinja2", "jsonschema", "matplotlib", "numpy", "onnxruntime",
    "pandas", "pocketsphinx", "pyarrow", "ray", "scipy", "sentence_transformers", "soundfile", "soxr", "torch",
    "transformers", "vllm",
}  # fmt: skip
#: What any module of the package may load when imported; the rest waits until it is needed.
ALLOWED_BELOW_TOP = {"numpy", "pyarrow", "jinja2", "jsonschema", "fsspec", "soundfile", "soxr"}


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
