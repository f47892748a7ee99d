"""Pools that cannot run are refused with the setting to change; those that can share what there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.errors import UsageError
from datagen.executors.admission import Machine, check, doubts, plan
from datagen.executors.base import PoolSpec
from datagen.stage import Resources

LAPTOP = [Machine(cpus=2, gpus=0, memory_gb=8)]
NODES = [Machine(cpus=16, gpus=2, memory_gb=64), Machine(cpus=4, gpus=0, memory_gb=16)]


def pool(name: str = "asr", **wants: object) -> PoolSpec:
    return PoolSpec(name, object, Resources(**wants))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wants", "machines", "says"),
    [
        ({"cpus": 4}, LAPTOP, r"stage 'asr' asks for 4 CPUs.*has 2.*stages\.asr\.resources\.cpus to at most 2"),
        ({"gpus": 0.5}, LAPTOP, r"stage 'asr' asks for 0\.5 GPUs.*there are none here.*stages\.asr\.resources\.gpus"),
        ({"memory_gb": 9}, LAPTOP, r"9 GB of memory.*has 8.*stages\.asr\.resources\.memory_gb"),
        ({"gpus": 1.5}, NODES, r"1\.5 GPUs per worker; more than one must be a whole number"),
        ({"gpus": 3}, NODES, r"3 GPUs per worker, but the largest machine here has 2"),
        ({"cpus": 20}, NODES, r"the largest machine here has 16"),
    ],
)
def test_a_worker_that_fits_on_no_machine_is_refused(wants, machines, says):
    with pytest.raises(UsageError, match=says):
        check([pool(**wants)], machines)


def test_a_worker_needs_all_of_it_on_one_machine():
    apart = [Machine(cpus=16, gpus=0, memory_gb=64), Machine(cpus=2, gpus=1, memory_gb=64)]
    with pytest.raises(UsageError, match="no single machine has all of that"):
        check([pool(cpus=8, gpus=1)], apart)


def test_one_worker_of_each_pool_must_fit_side_by_side():
    gpus = [pool("asr", gpus=1), pool("emotion", gpus=1), pool("affect", gpus=1)]
    with pytest.raises(
        UsageError, match=r"3 GPUs.*asr 1, emotion 1, affect 1.*there are 2.*stages\.asr\.resources\.gpus"
    ):
        check(gpus, NODES)
    check(gpus[:2], NODES)
    check([pool(f"stage{index}", gpus=0.5) for index in range(4)], NODES)


def test_cpus_may_be_time_shared_but_gpus_may_not():
    many = [pool(f"stage{index}") for index in range(5)]
    with pytest.raises(UsageError, match=r"5 CPUs with one worker each.*there are 2"):
        check(many, LAPTOP)
    check(many, LAPTOP, share_cpus=True)
    shares = plan(many, LAPTOP)
    assert {share.workers for share in shares.values()} == {1}
    assert sum(share.cpus for share in shares.values()) <= 2
    with pytest.raises(UsageError, match="GPUs"):
        check([pool("a", gpus=1), pool("b", gpus=2)], NODES, share_cpus=True)


def test_workers_are_as_many_as_fit_or_as_asked():
    assert plan([pool()], LAPTOP)["asr"].workers == 2
    assert plan([pool(workers=1)], NODES)["asr"].workers == 1
    assert plan([pool(workers=64)], NODES)["asr"].workers == 20
    assert plan([pool(cpus=0)], LAPTOP)["asr"].workers >= 1
    assert plan([pool(gpus=0.5)], NODES)["asr"].workers == 4
    assert plan([pool(cpus=3)], NODES)["asr"].workers == 5 + 1, "a worker does not span machines"


def test_every_pool_gets_one_before_any_gets_two():
    shares = plan([pool("a"), pool("b", workers=1)], LAPTOP)
    assert {name: share.workers for name, share in shares.items()} == {"a": 1, "b": 1}


def model(name: str, expected_gb: float, **wants: object) -> PoolSpec:
    return PoolSpec(name, object, Resources(cpus=2, **wants), expected_gb)  # type: ignore[arg-type]


def test_models_bound_the_workers_by_memory_and_refuse_no_small_machine():
    models = [model("asr", 10), model("emotion", 4), model("affect", 4)]
    large = [Machine(cpus=64, gpus=0, memory_gb=40)]
    shares = plan(models, large)
    assert sum(share.memory_gb * share.workers for share in shares.values()) <= 40
    assert {name: share.workers for name, share in shares.items()} == {"asr": 2, "emotion": 3, "affect": 2}
    assert len(doubts(models, large)) == 3
    assert doubts(models, large)[0].startswith("stage 'asr': 2 workers instead of 11, since each is expected to take")
    check(models, LAPTOP, share_cpus=True)
    small = plan(models, LAPTOP)
    assert {share.workers for share in small.values()} == {1}
    assert sum(share.memory_gb for share in small.values()) <= 8, "Ray would wait for ever for more than there is"
    assert (
        "18 GB of memory with one worker each (asr 10, emotion 4, affect 4), and 8 are there"
        in doubts(models, LAPTOP)[0]
    )
    assert len(doubts(models, LAPTOP)) == 1


def test_memory_that_is_asked_for_overrules_what_is_expected():
    large = [Machine(cpus=64, gpus=0, memory_gb=40)]
    assert plan([model("asr", 10, memory_gb=2)], large)["asr"] == plan([pool(cpus=2, memory_gb=2)], large)["asr"]
    assert doubts([model("asr", 10, memory_gb=2), pool("cpu1")], large) == []


def test_what_is_expected_keeps_nobody_from_starting():
    apart = [Machine(cpus=2, gpus=0, memory_gb=6), Machine(cpus=2, gpus=0, memory_gb=6)]
    shares = plan(
        [model("asr", 5), model("emotion", 3), PoolSpec("big", object, Resources(cpus=0, memory_gb=4))], apart
    )
    assert {share.workers for share in shares.values()} == {1}
    assert shares["asr"].memory_gb == shares["emotion"].memory_gb == 0, "there is no place for all of them"


wants = st.builds(
    pool,
    cpus=st.sampled_from([0, 0.25, 1, 2, 4]),
    gpus=st.sampled_from([0, 0.25, 0.5, 1, 2]),
    memory_gb=st.sampled_from([0, 1, 8]),
    workers=st.sampled_from([None, 1, 3, 100]),
)


@given(st.lists(st.tuples(wants, st.sampled_from([0.0, 3.0, 40.0])), min_size=1, max_size=5))
def test_a_plan_of_admitted_pools_never_exceeds_what_there_is(pools):
    pools = [PoolSpec(f"stage{at}", one.factory, one.resources, expected) for at, (one, expected) in enumerate(pools)]
    try:
        check(pools, NODES)
    except UsageError:
        return
    shares = plan(pools, NODES)
    for unit in ("gpus", "memory_gb"):
        used = sum(getattr(one.resources, unit) * shares[one.name].workers for one in pools)
        assert used <= sum(getattr(machine, unit) for machine in NODES) + 1e-6
    assert sum(share.memory_gb * share.workers for share in shares.values()) <= 80 + 1e-6
    assert sum(share.cpus * share.workers for share in shares.values()) <= 20 + 1e-6
    for one in pools:
        assert 1 <= shares[one.name].workers <= (one.resources.workers or 1000)
