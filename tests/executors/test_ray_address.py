"""Addresses that cannot work are refused in a moment, before Ray is asked."""

from __future__ import annotations

import socket

import pytest

from datagen.errors import UsageError
from datagen.executors.ray import RayExecutor
from datagen.executors.session import _check_listening


def test_an_address_where_nothing_answers_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        _check_listening(address)
    with pytest.raises(UsageError, match=rf"--ray-address {address}: nothing answers there"):
        _check_listening(address)


def test_half_an_address_is_refused():
    with pytest.raises(UsageError, match=r"--ray-address head-node: give host:port"):
        _check_listening("head-node")


def test_ray_client_is_refused():
    with pytest.raises(UsageError, match="Ray Client is not supported"):
        RayExecutor(address="ray://head:10001")


def test_cpus_belong_to_the_cluster():
    with pytest.raises(UsageError, match="cluster's business"):
        RayExecutor(address="auto", num_cpus=4)
