"""An OpenAI-compatible server on loopback that answers deterministically and fails on purpose.

    with Server(faults=Faults(http_500=0.05, cut=0.05), seed=7) as server:
        ...  # server.url, server.counts()

It invents its answers: a fake for fault injection and for measuring clients, never for data.
"""

from datagen.testing.llm_server.faults import FAULTS, Faults, Luck
from datagen.testing.llm_server.handlers import Behaviour, Counts, fingerprint
from datagen.testing.llm_server.serve import Server, ServerProcess

__all__ = ["FAULTS", "Behaviour", "Counts", "Faults", "Luck", "Server", "ServerProcess", "fingerprint"]
