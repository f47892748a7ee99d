"""What tests of whole runs share: a run directory in which everything before the language model is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from .whole_run import prepare


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once, without asking anybody; tests work on copies."""
    return prepare(
        tmp_path_factory.mktemp("whole"), "llm.server=endpoint", "llm.urls=[http://127.0.0.1:9]", "llm.model=x"
    )
