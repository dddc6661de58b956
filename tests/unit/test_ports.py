"""Ports are looked at before anything starts."""

from __future__ import annotations

import socket

import pytest

from local.errors import PortBusy
from local.ports import free_port, refuse_busy_ports


def test_free_ports_pass() -> None:
    refuse_busy_ports({"HOLDFAST_API_PORT": ("API", free_port())})


def test_each_busy_port_is_named_with_its_variable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("0.0.0.0", 0)) as other:  # noqa: S104
        first, second = one.getsockname()[1], other.getsockname()[1]
        with pytest.raises(PortBusy) as error:
            refuse_busy_ports({"HOLDFAST_API_PORT": ("API", first), "HOLDFAST_GATEWAY_PORT": ("gateway", second)})
    assert f"port {first} (API) is in use by another program: set HOLDFAST_API_PORT" in str(error.value)
    assert f"port {second} (gateway)" in str(error.value)


def test_one_port_given_twice_is_refused() -> None:
    port = free_port()
    with pytest.raises(PortBusy, match=f"HOLDFAST_GATEWAY_PORT and HOLDFAST_API_PORT are both {port}"):
        refuse_busy_ports({"HOLDFAST_API_PORT": ("API", port), "HOLDFAST_GATEWAY_PORT": ("gateway", port)})
