"""Marks found on counts come to the same rows as taking them out one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.quality.quotas import AtMost, Queue, solve


def one_by_one(cell, protected, limits, front):
    """Rows that stay: while a limit is not met, its rearmost unprotected row goes."""
    stays = protected | (np.arange(len(cell)) < front)
    while True:
        for limit in limits:
            own, others = np.isin(cell, limit.kind), np.isin(cell, limit.others)
            free = np.flatnonzero(stays & own & ~protected)
            if len(free) and int((stays & own).sum()) > limit.most(int((stays & others).sum())):
                stays[free[-1]] = False
                break
        else:
            return stays


SHARE = st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 0.8])
LIMITS = st.lists(
    st.tuples(
        st.sampled_from([((0,), (1,)), ((0, 2), (1, 3)), ((1,), (0, 2, 3)), ((2, 3), (0, 1))]), SHARE, st.booleans()
    ),
    max_size=3,
).map(lambda drawn: [AtMost(f"l{n}", *kinds, share, up) for n, (kinds, share, up) in enumerate(drawn)])
QUEUE = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 5)), max_size=40)


@settings(deadline=None, max_examples=300)
@given(QUEUE, LIMITS, st.sampled_from([None, 0, 7, 30]))
def test_the_largest_set_that_fits(rows, limits, target):
    cell = np.array([row[0] for row in rows], np.int64)
    protected = np.array([row[1] == 0 for row in rows], bool)
    size = np.array([row[2] for row in rows], np.int64)
    taken = solve(Queue(cell, 4, protected, size), limits, target).limit
    stays = taken < 0
    whole = one_by_one(cell, protected, limits, len(cell))
    if target is None or size[whole].sum() <= target:
        assert np.array_equal(stays, whole)
        assert not (taken == len(limits)).any()
        return
    assert (stays & ~whole).sum() == 0 and stays[protected].all()
    for limit in limits:
        own, others = stays & np.isin(cell, limit.kind), stays & np.isin(cell, limit.others)
        assert own.sum() <= limit.most(int(others.sum())) or protected[own].all()
    prefixes = [one_by_one(cell, protected, limits, front) for front in range(len(cell) + 1)]
    reached = max((size[p].sum() for p in prefixes if size[p].sum() <= target), default=None)
    if reached is None:
        assert np.array_equal(stays, prefixes[0])  # what is protected is more than the target
    else:
        assert reached <= size[stays].sum() <= target


def test_rounding_down_does_not_eat_up_shares_that_add_up_to_one():
    cell = np.tile([0, 1, 2], 10)
    bounds = {0: 0.34, 1: 0.33, 2: 0.33}
    limits = [AtMost(str(c), (c,), tuple({0, 1, 2} - {c}), share, to_the_clip=True) for c, share in bounds.items()]
    taken = solve(Queue(cell, 3, np.zeros(30, bool), np.ones(30, np.int64)), limits, None).limit
    assert (taken < 0).sum() >= 29


def test_a_share_in_binary_fractions_is_not_a_clip_short():
    assert AtMost("", (0,), (1,), 0.4).most(3) == 2
    assert AtMost("", (0,), (1,), 0.1).most(9) == 1
