import pytest

from datagen.run import Options, execute, open_run
from tests.engine import toy


@pytest.fixture
def source(tmp_path):
    return toy.write_input(tmp_path / "in", 20, broken=(5,))


@pytest.fixture
def run(tmp_path, source):
    """Runs the toy recipe into one directory; returns units committed per stage, stages without any left out."""

    def go(options=None, to="run", **settings):
        options = options or Options(progress="none")
        _, outcome = execute(toy.recipe(source, **settings), str(tmp_path / to), options, print)
        return {name: count for name, count in outcome.committed.items() if count}

    return go


@pytest.fixture
def space(tmp_path):
    """Opens the directory that ``run`` wrote, with the recipe it was last run with."""
    return lambda to="run": open_run(str(tmp_path / to))
