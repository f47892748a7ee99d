"""Language models of a run: where their servers are, and what a stage is given to ask them with.

llm/journal/<stage>/         finished calls
llm/servers/<group>/<n>.json a server that the run has started: its URL, while it answers
llm/spent/                   what each process has spent, for the caps on the whole run
llm/logs/<group>-<n>.log     what a server says
"""

from __future__ import annotations

from datagen.files import Files
from datagen.llm.asking import Asker
from datagen.llm.journal import Journal
from datagen.llm.settings import LlmConfig

FOLDER = "llm"


def asker(files: Files, stage: str, settings: LlmConfig) -> Asker:
    """For one stage in this process."""
    return Asker(settings, lambda: servers(files, settings), Journal(files, f"{FOLDER}/journal/{stage}"))


def servers(files: Files, settings: LlmConfig) -> tuple[str, ...]:
    """URLs of the servers that the run has started for these settings and that answer now."""
    folder = f"{FOLDER}/servers/{settings.group}"
    return tuple(files.read_json(f"{folder}/{name}")["url"] for name in sorted(files.names(folder)))
