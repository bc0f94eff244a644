"""A port chosen by us is ours until our server listens on it, seconds later."""

import socket

import pytest

from service.embedded import probes


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
def test_free_port_is_given_to_nobody_but_the_server_that_names_it(host: str) -> None:
    try:
        port = probes.free(host)
    except probes.PortTaken:
        assert host == "::1"
        pytest.skip("this machine has no IPv6")

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as other, pytest.raises(OSError, match="in use"):
        other.bind((host, port))
    with socket.create_server((host, port), family=family) as server:
        assert server.getsockname()[1] == port
