"""A second request hidden in the body of the first: it must never be carried out, and the first must be answered."""

from collections.abc import Iterator
from functools import partial
from uuid import uuid4

from benchmarks.attack import forged, wire
from benchmarks.attack.findings import Attack, Finding, tally
from benchmarks.attack.target import Target

SUCCESS = "it is carried out"
H2C = "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"
UPGRADES = (("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", H2C), ("Connection: Upgrade", "Upgrade: websocket"))
# Of each: the lines of the head, `{length}` being that of the hidden request, and what goes before it in the body.
HEADS: dict[str, tuple[tuple[str, ...], bytes]] = {
    "Content-Length and chunked": (("Content-Length: {past}", "Transfer-Encoding: chunked"), b"0\r\n\r\n"),
    "chunked and Content-Length": (("Transfer-Encoding: chunked", "Content-Length: {past}"), b"0\r\n\r\n"),
    "two lengths": (("Content-Length: 0", "Content-Length: {length}"), b""),
    "two lengths, the longer first": (("Content-Length: {length}", "Content-Length: 0"), b""),
    "list of lengths": (("Content-Length: {length}, 0",), b""),
    "Transfer-Encoding: xchunked": (("Transfer-Encoding: xchunked",), b""),
    "xchunked and Content-Length": (("Content-Length: {length}", "Transfer-Encoding: xchunked"), b""),
    "chunked, not as the last": (("Transfer-Encoding: chunked, identity",), b"0\r\n\r\n"),
    "bare LF": (("X: a\nContent-Length: {length}",), b""),
    "folded line": (("Content-Length: {past}", "Transfer-Encoding:\r\n chunked"), b"0\r\n\r\n"),
    "Content-Length: +5": (("Content-Length: +{length}",), b""),
    "Content-Length: 0x5": (("Content-Length: 0x{hexed}",), b""),
    "NUL in a value": (("X: a\0b", "Content-Length: {length}"), b""),
    "NUL in a name": (("Content-Length\0: {length}",), b""),
    "space before the colon": (("Content-Length : {length}",), b""),
}


def h2c_offer(target: Target) -> Finding:
    """The first request of Java's HttpClient to every server."""
    body = wire.form(forged.small_png())
    kind, length = "Content-Type: multipart/form-data; boundary=edge", f"Content-Length: {len(body)}"
    head = wire.head("POST", target.predict, wire.bearer(target.key("predict")), kind, length, *UPGRADES[0])
    answers = [wire.statuses(wire.exchange(target.port, *parts)) for parts in ((head + body,), (head, body))]
    return Finding(answers == [[200], [200]], f"in one packet {answers[0]}, in two {answers[1]}")


def upgrade(target: Target) -> Finding:
    """Eight ways: an upgrade to h2c or WebSocket, a length or chunks, the body in the same packet or in the next."""
    key, results = target.key("predict"), []
    for offer in UPGRADES:
        for is_chunked in (False, True):
            hidden, mark = _hidden()
            body = wire.chunked(hidden) if is_chunked else hidden
            size = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(hidden)}"
            first = wire.head("POST", target.predict, wire.bearer(key), size, *offer)
            for parts in ((first + body,), (first, body)):
                results.append(_result(target, mark, *parts))
    return Finding(set(results) == {"one answer"}, tally(results))


def hidden_request(name: str, target: Target) -> Finding:
    """The first request once with a key and once without, whose body the service has no reason to read."""
    lines, before = HEADS[name]
    results = []
    for shown in ((wire.bearer(target.key("predict")),), ()):
        hidden, mark = _hidden()
        sizes = {"length": len(hidden), "past": len(before + hidden), "hexed": f"{len(hidden):x}"}
        head = wire.head("POST", target.predict, *shown, *(line.format_map(sizes) for line in lines))
        results.append(_result(target, mark, head + before + hidden))
    return Finding(set(results) == {"one answer"}, f"with a key {results[0]}, without {results[1]}")


def _attacks() -> Iterator[Attack]:
    yield Attack("offer of h2c, as Java sends", "the upload is not judged", h2c_offer)
    yield Attack("hidden request: after an upgrade", SUCCESS, upgrade)
    for name in HEADS:
        yield Attack(f"hidden request: {name}", SUCCESS, partial(hidden_request, name))


ATTACKS = tuple(_attacks())


def _hidden() -> tuple[bytes, str]:
    """A request, and its id, which is in the log if it is carried out."""
    mark = f"hidden-{uuid4().hex}"
    return wire.head("GET", "/v1/experiments", f"X-Request-Id: {mark}"), mark


def _result(target: Target, mark: str, *parts: bytes) -> str:
    statuses = wire.statuses(wire.exchange(target.port, *parts))
    if mark in target.log():
        return f"CARRIED OUT {statuses}"
    if not statuses:
        return "no answer"
    return "one answer" if len(statuses) == 1 and statuses[0] != 500 else f"answers {statuses}"
