"""One connection, byte for byte: where a request ends is never in doubt, and none hides in the body of another.

Every test needs the address of a server and nothing else of it, and so holds for any server that comes to run this
application. A body that arrives whole is told from one that does not by the answer of POST /v1/models/rollback: 409,
there is nothing to roll back to, or 422, the reason is missing.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from migrations import migrate
from service.embedded import probes
from tests.end_to_end.serving import served

Address = tuple[str, int]
CADDYFILE = Path(__file__).resolve().parents[2] / "docs" / "deployment" / "Caddyfile"
PATIENCE_SECONDS = 10.0

HOST = b"Host: 127.0.0.1\r\n"
JSON = b"Content-Type: application/json\r\n"
ROLLBACK = b"POST /v1/models/rollback HTTP/1.1\r\n" + HOST + JSON
LAST = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
BODY = b'{"reason": "it was better before"}'
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"10\r\n" + BODY[:16] + b"\r\n%x\r\n" % (len(BODY) - 16) + BODY[16:] + b"\r\n0\r\n\r\n"
# What Java's HttpClient sends with the first request of every connection.
JAVA = (
    b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\n"
    b"Upgrade: h2c\r\n"
)
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
OFFERS = [JAVA, WEBSOCKET, b"Upgrade: anything\r\nConnection: keep-alive, upgrade\r\n"]
# A body that is a request by itself.
HIDDEN = b"GET /hidden HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    folder = tmp_path_factory.mktemp("sockets")
    url = f"sqlite:///{folder}/web.db"
    migrate(url)
    with served(folder, url) as home:
        yield "127.0.0.1", int(home.rpartition(":")[2])


@contextmanager
def proxied(folder: Path, behind: int) -> Iterator[Address]:
    """Caddy with our Caddyfile, but for the name and the certificate, in front of a port of this machine."""
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("there is no program caddy here")
    port, text = probes.free(), CADDYFILE.read_text()
    assert "triage.example.org {" in text
    assert "reverse_proxy 127.0.0.1:8000 {" in text
    text = text.replace("triage.example.org", f"http://127.0.0.1:{port}").replace(":8000", f":{behind}")
    (folder / "Caddyfile").write_text("{\n\tadmin off\n}\n" + text)
    environment = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    command = [caddy, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        _wait_for(("127.0.0.1", port))
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def proxy(address: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with proxied(tmp_path_factory.mktemp("caddy"), address[1]) as proxy:
        yield proxy


@contextmanager
def connected(address: Address) -> Iterator[socket.socket]:
    with closing(socket.create_connection(address, PATIENCE_SECONDS)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def exchange(address: Address, *parts: bytes) -> bytes:
    """Everything that the server answers until it closes the connection."""
    with connected(address) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except ConnectionError:
            pass  # closed before everything was sent
        return rest_of(connection)


def rest_of(connection: socket.socket) -> bytes:
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass  # closed while there was something left to read
    return received


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def _wait_for(address: Address) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection(address, 1).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("framed", [LENGTH + BODY, CHUNKED + CHUNKS], ids=["length", "chunked"])
def test_a_request_that_offers_an_upgrade_has_its_body_read(address: Address, offer: bytes, framed: bytes) -> None:
    assert statuses(exchange(address, ROLLBACK + offer + framed + LAST)) == [409, 200]


@pytest.mark.parametrize("framed", [LENGTH + BODY, CHUNKED + CHUNKS], ids=["length", "chunked"])
def test_an_offered_upgrade_is_ignored_however_its_request_is_cut(address: Address, framed: bytes) -> None:
    whole = ROLLBACK + JAVA + framed
    for cut in range(len(ROLLBACK + JAVA), len(whole)):
        assert statuses(exchange(address, whole[:cut], whole[cut:] + LAST)) == [409, 200], whole[:cut]
    single_bytes = [bytes((byte,)) for byte in whole + LAST]
    assert statuses(exchange(address, *single_bytes)) == [409, 200]


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_body_of_an_offered_upgrade_is_no_request(address: Address, offer: bytes, framing: str) -> None:
    length = b"Content-Length: %d\r\n\r\n" % len(HIDDEN)
    framed = [length, HIDDEN] if framing == "length" else [CHUNKED, b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)]
    with connected(address) as connection:
        connection.sendall(ROLLBACK + offer + framed[0])
        time.sleep(0.02)  # the body comes in a packet of its own
        connection.sendall(framed[1] + LAST)
        assert statuses(rest_of(connection)) == [422, 200]


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_request_without_a_body_may_offer_an_upgrade(address: Address, method: bytes) -> None:
    asked = method + b" /v1/catalog HTTP/1.1\r\n" + HOST + JAVA + b"\r\n"
    answers = exchange(address, asked + asked + ROLLBACK + JAVA + LENGTH + BODY + LAST)
    head = 405 if method == b"HEAD" else 200
    assert statuses(answers) == [head, head, 409, 200]


def test_many_offers_in_one_packet_are_each_answered(address: Address) -> None:
    asked = b"GET /healthz HTTP/1.1\r\n" + HOST + JAVA + b"\r\n"
    assert statuses(exchange(address, 200 * asked + LAST)) == 201 * [200]


def test_an_offer_that_expects_100_continue_is_told_to_go_on(address: Address) -> None:
    with connected(address) as connection:
        connection.sendall(ROLLBACK + JAVA + b"Expect: 100-continue\r\n" + LENGTH)
        assert statuses(connection.recv(1000)) == [100]
        connection.sendall(BODY + LAST)
        assert statuses(rest_of(connection)) == [409, 200]


def test_an_offer_of_an_older_version_is_answered_and_closed(address: Address) -> None:
    asked = b"GET /healthz HTTP/1.0\r\n" + HOST + JAVA + b"\r\n"
    assert statuses(exchange(address, asked + HIDDEN)) == [200]


@pytest.mark.parametrize("target", [b"example.org:443", b"/healthz"])
def test_connect_is_refused_and_closed(address: Address, target: bytes) -> None:
    asked = b"CONNECT " + target + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello"
    assert statuses(exchange(address, asked + HIDDEN)) == [400]


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"Content-Length: 5, 5\r\n\r\n",
        b"Content-Length: +5\r\n\r\n",
        b"Content-Length: -5\r\n\r\n",
        b"Content-Length: 0x5\r\n\r\n",
        b"Content-Length: 5 5\r\n\r\n",
        b"Content-Length: 5_0\r\n\r\n",
        b"Content-Length: 99999999999999999999999\r\n\r\n",
        b"Content-Length:\r\n\r\n",
        b"Content-Length : 5\r\n\r\n",
        b" Content-Length: 5\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\n\r\n",
        b"Transfer-Encoding: chunkedx\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n",
        b"Transfer-Encoding: identity\r\n\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding:\r\n chunked\r\n\r\n",
        b"Transfer-Encoding\r\n: chunked\r\n\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"X: a\nContent-Length: 5\r\n\r\n",
        b"X: a\rContent-Length: 5\r\n\r\n",
        b"X: a\r\n\tb\r\nContent-Length: 5\r\n\r\n",
        b"X: a\x00b\r\nContent-Length: 5\r\n\r\n",
        b"X\r\nContent-Length: 5\r\n\r\n",
        b": a\r\nContent-Length: 5\r\n\r\n",
        b"Content-Length: 5\n\n",
        b"Content-Length: 5\r\n\n",
    ],
)
@pytest.mark.parametrize("offer", [b"", JAVA], ids=["plain", "upgrade"])
def test_a_request_that_parsers_could_read_differently_is_refused_and_closed(
    address: Address, offer: bytes, head: bytes
) -> None:
    assert statuses(exchange(address, ROLLBACK + offer + head + b"hello" + HIDDEN)) == [400]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"Host: elsewhere\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n" + HOST + CHUNKED + b"0\r\n\r\n",
        b"GET /healthz HTTP/2.0\r\n" + HOST + b"\r\n",
        b"GET /healthz HTTP/0.9\r\n" + HOST + b"\r\n",
        b"GET /healthz HTTP/1.1 \r\n" + HOST + b"\r\n",
        b"GET /health z HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /healthz\r\n\r\n",
        b"get /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_a_head_that_is_none_of_http_1_is_refused_and_closed(address: Address, head: bytes) -> None:
    assert statuses(exchange(address, head + HIDDEN)) == [400]


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("offer", [b"", JAVA], ids=["plain", "upgrade"])
def test_the_body_of_a_request_that_needs_none_is_no_request(address: Address, method: bytes, offer: bytes) -> None:
    asked = method + b" /hidden HTTP/1.1\r\n" + HOST + offer + b"Content-Length: %d\r\n\r\n" % len(HIDDEN)
    with connected(address) as connection:
        connection.sendall(asked)
        assert statuses(connection.recv(65536)) == [404]
        connection.sendall(HIDDEN + LAST)
        assert statuses(rest_of(connection)) == [200]


@pytest.mark.parametrize(
    "trailer", [b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b"Content-Length: 40\r\n", CHUNKED.removesuffix(b"\r\n")]
)
@pytest.mark.parametrize("offer", [b"", JAVA, b"Connection: Upgrade\r\n"], ids=["plain", "upgrade", "half"])
def test_a_trailer_says_nothing_of_where_the_next_request_begins(
    address: Address, offer: bytes, trailer: bytes
) -> None:
    framed = CHUNKED + CHUNKS.removesuffix(b"\r\n") + trailer + b"\r\n"
    assert statuses(exchange(address, ROLLBACK + offer + framed + HIDDEN + LAST)) in ([409, 404, 200], [400], [])


def test_a_trailer_does_not_become_a_header(address: Address) -> None:
    framed = CHUNKED + CHUNKS.removesuffix(b"\r\n") + b"Content-Type: text/plain\r\nX-Request-Id: hidden\r\n\r\n"
    answers = exchange(address, ROLLBACK + framed + LAST)
    assert statuses(answers) == [409, 200]
    assert b"hidden" not in answers


def test_a_broken_second_request_is_not_answered_in_place_of_the_first(address: Address) -> None:
    assert statuses(exchange(address, ROLLBACK + LENGTH + BODY + b"BROKEN\r\n\r\n")) in ([], [409])


@pytest.mark.parametrize("offer", OFFERS)
def test_no_request_hides_behind_an_upgrade_that_passes_our_proxy(proxy: Address, offer: bytes) -> None:
    framed = b"Content-Length: %d\r\n\r\n" % len(HIDDEN)
    with connected(proxy) as connection:
        connection.sendall(ROLLBACK + offer + framed)
        time.sleep(0.02)
        connection.sendall(HIDDEN + LAST)
        assert statuses(rest_of(connection)) == [422, 200]


def test_an_offered_upgrade_passes_our_proxy_as_an_ordinary_request(proxy: Address) -> None:
    assert statuses(exchange(proxy, ROLLBACK + JAVA + LENGTH + BODY + LAST)) == [409, 200]


def test_our_proxy_passes_no_offer_of_an_upgrade_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, proxied(tmp_path, server.getsockname()[1]) as proxy:
        server.settimeout(PATIENCE_SECONDS)
        with connected(proxy) as client:
            client.sendall(ROLLBACK + JAVA + LENGTH + BODY)
            with closing(server.accept()[0]) as connection:
                passed = connection.recv(65536).lower()
    assert passed.startswith(b"post /v1/models/rollback")
    assert b"upgrade" not in passed
