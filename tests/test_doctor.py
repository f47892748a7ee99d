"""Doctor names every backend and what mends it, and stays light."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from datagen import doctor
from datagen.models import manifest
from datagen.registry import stage_names


@pytest.fixture
def told(monkeypatch, tmp_path, capfd) -> list[str]:
    monkeypatch.setenv(manifest.CACHE_VARIABLE, str(tmp_path / "models"))
    doctor.show()
    return capfd.readouterr().out.splitlines()


def test_every_stage_and_backend_is_listed_with_its_mend(told):
    section = told[told.index("stages and their backends") + 1 : told.index("models")]
    names = {line.split()[1].rstrip(":") for line in section if line}
    assert names == set(stage_names())
    missing = [line for line in section if "is not here" in line]
    mends = ("datagen models pull", "make setup-main")  # the latter where the libraries are not installed either
    assert missing and all(line.split()[0] == "--" and any(mend in line for mend in mends) for line in missing)


def test_packages_of_the_main_environment_and_the_model_cache_are_named(told):
    packages = told[told.index("packages") + 1 : told.index("stages and their backends")]
    named = {line.split()[1] for line in packages if line}
    assert named >= {"whisperx", "ctranslate2", "funasr", "transformers", "torchaudio", "pyannote.audio", "torch"}
    assert any("torch " in line and ("built for CUDA" in line or "built for CPUs" in line) for line in packages)
    assert f"0 of {len(manifest.entries())} models" in told[told.index("models") + 1]


def test_doctor_imports_no_model_library():
    heavy = ("torch", "transformers", "funasr", "whisperx", "pyannote.audio", "ctranslate2", "huggingface_hub", "ray")
    ask = f"import sys\nfrom datagen import doctor\ndoctor.show()\nprint([m for m in {heavy} if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert told.stdout.splitlines()[-1] == "[]"


def test_torch_is_asked_in_a_process_of_its_own_and_not_for_ever(monkeypatch):
    def slow(words, *, timeout, **_):
        assert words[0] == sys.executable
        raise subprocess.TimeoutExpired(words, timeout)

    monkeypatch.setattr(doctor.subprocess, "run", slow)
    assert doctor.torch_sees(3) == "torch did not say within 3 s which GPUs it can use"
