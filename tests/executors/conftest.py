"""One embedded Ray for all conformance tests (starting it takes seconds), and a clean place for each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datagen.executors.base import Executor
from datagen.executors.local import LocalExecutor
from datagen.executors.ray import RayExecutor

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the test workers are imported by name, here as in worker processes


@pytest.fixture(scope="package")
def shared_ray() -> Iterator[RayExecutor]:
    """Started by the first test that wants it; executors made meanwhile attach to it and leave it running."""
    import ray

    before = os.environ.get("PYTHONPATH")
    # Worker processes import the test workers by name.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), str(HERE.parents[1]), before]))
    assert not ray.is_initialized(), "another test left its Ray running"
    owner = RayExecutor(num_cpus=2)
    owner.admit([])
    yield owner
    owner.shutdown()
    assert not ray.is_initialized(), "what comes after these tests starts its own"
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture
def make_ray(shared_ray: RayExecutor) -> Iterator[Callable[..., RayExecutor]]:
    made: list[RayExecutor] = []

    def make(**options: object) -> RayExecutor:
        made.append(RayExecutor(**options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for executor in made:
        executor.shutdown()


@pytest.fixture(params=["local", "ray"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Executor]]:
    """Makes an executor of either kind, with options both understand."""
    if request.param == "ray":
        yield request.getfixturevalue("make_ray")
        return
    made: list[LocalExecutor] = []

    def local(**options: int) -> LocalExecutor:
        made.append(LocalExecutor(**options))
        return made[-1]

    yield local
    for executor in made:
        executor.shutdown()


@pytest.fixture
def executor(make: Callable[..., Executor]) -> Executor:
    return make()
