"""A stage from another package: found by its entry point, checked like our own."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from datagen import registry
from datagen.errors import UsageError
from tests.engine import toy


@pytest.fixture
def plugged(monkeypatch):
    """Pretends that a package with these entry points is installed."""

    def plug(**targets):
        points = [EntryPoint(name, target, "datagen.stages") for name, target in targets.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "datagen.stages" else [])
        registry._third_party.cache_clear()

    yield plug
    registry._third_party.cache_clear()


def test_a_third_party_stage_runs_like_any_other(plugged, tmp_path, run):
    plugged(loud="tests.engine.toy:Extra")
    assert run(stages=[*toy.DEFAULT, "loud"])["loud"] == 4
    found = toy.rows_of(str(tmp_path / "run"))
    assert found["clips"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("no.such.module:Stage", r"stage 'loud' \(no.such.module:Stage\) cannot be loaded: No module named 'no'"),
        ("tests.engine.toy:recipe", "stage 'loud': tests.engine.toy:recipe is not a datagen.stage.Stage"),
    ],
)
def test_a_broken_plugin_is_named(plugged, source, target, says):
    plugged(loud=target)
    with pytest.raises(UsageError, match=says):
        toy.recipe(source, stages=[*toy.DEFAULT, "loud"])


def test_a_plugin_cannot_take_the_place_of_a_stage(plugged, source):
    plugged(square="no.such.module:Stage")
    assert "square" in toy.recipe(source).configs
