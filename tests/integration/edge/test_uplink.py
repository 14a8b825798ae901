"""The uplink against a real HTTP server that misbehaves as told."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.integration.edge.peers import Receiver, eventually, free_port
from tests.integration.edge.sending import numbers, numbers_as_sent, sending


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that are minutes long take an instant."""
    monkeypatch.setattr("edge.uplink.live.pause", lambda stop, _seconds, _moving: asyncio.sleep(0.05))


async def test_a_batch_goes_with_the_key_and_leaves_the_backlog_on_its_receipt(tmp_path: Path) -> None:
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1, 2, 3)
            await eventually(lambda: site.uplink.state.batches == 1)
            assert (await site.store.backlog()).readings == 0
        assert set(receiver.keys) == {"Bearer segs_secret"}
        assert numbers_as_sent(receiver) == [1, 2, 3]


async def test_a_lost_reply_is_answered_by_the_same_bytes_again(tmp_path: Path) -> None:
    """E16, E23: committed by the receiver, but its reply never came."""
    with Receiver() as receiver:
        receiver.script.extend(["reset-after-commit", "reset-after-commit"])
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1, 2)
            await eventually(lambda: len(receiver.bodies) == 1)
            await site.put(3)
            await eventually(lambda: site.uplink.state.readings == 3)
        assert [seq for seq, _ in receiver.bodies] == [1, 1, 1, 2]
        assert len({body for seq, body in receiver.bodies if seq == 1}) == 1
        assert numbers_as_sent(receiver) == [1, 2, 3]


async def test_a_receiver_that_hangs_is_given_up_in_time(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.script.append("hang")
        async with sending(tmp_path, receiver.url, timeout_s=0.5) as site:
            await site.put(1)
            await eventually(lambda: site.uplink.state.batches == 1)
        assert 0.4 < receiver.requests[1] - receiver.requests[0] < 3.0


@pytest.mark.usefixtures("impatient")
async def test_a_key_that_is_refused_keeps_everything_and_a_new_one_needs_no_restart(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.script.append(401)
        async with sending(tmp_path, receiver.url, key="segs_revoked") as site:
            await site.put(1)
            await eventually(lambda: site.uplink.state.trouble == "401: scripted 401; $.devices[0]")
            assert (await site.store.backlog()).readings == 1
            (tmp_path / "gateway.key").write_text("segs_renewed")
            await eventually(lambda: site.uplink.state.batches == 1)
            assert site.uplink.state.trouble is None
        assert (receiver.keys[0], receiver.keys[-1]) == ("Bearer segs_revoked", "Bearer segs_renewed")


async def test_a_receiver_on_this_machine_is_reached_without_the_proxy_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that needs a proxy for the world still talks to itself."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1)
            await eventually(lambda: site.uplink.state.batches == 1)
    assert site.uplink.state.failures == 0


async def test_a_missing_key_is_said_and_waited_for(tmp_path: Path) -> None:
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url, key=None) as site:
            await site.put(1)
            await eventually(lambda: "no gateway key" in (site.uplink.state.trouble or ""))
            assert (await site.store.backlog()).readings == 1
        assert not receiver.keys


async def test_a_receipt_for_another_batch_settles_nothing(tmp_path: Path) -> None:
    """E16"""
    with Receiver() as receiver:
        receiver.script.append("foreign-receipt")
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1)
            await eventually(lambda: "the receipt is for" in (site.uplink.state.trouble or ""))
            assert (await site.store.backlog()).readings == 1


def _response(status: int, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _receipt(**fields: object) -> bytes:
    plain = {"version": 1, "stream": "s", "seq": 1, "sha256": "0" * 64, "readings": 1, "stored": 1, "duplicates": 0}
    return json.dumps(plain | {"quarantined": []} | fields).encode()


_NESTED = b"[" * 100_000 + b"]" * 100_000
_GARBAGE = {
    "a-body-that-is-not-gzip": _response(200, b"no gzip", "Content-Encoding: gzip"),
    "an-error-that-is-not-zstd": _response(502, b"no zstd", "Content-Encoding: zstd"),
    "nothing": _response(200, b""),
    "a-web-page": _response(200, b"<html>log in first</html>", kind="text/html"),
    "a-number-beyond-64-bits": _response(200, _receipt(seq=2**63)),
    "a-count-beyond-64-bits": _response(200, _receipt(readings=10**30)),
    "a-negative-count": _response(200, _receipt(stored=-1)),
    "a-receipt-that-is-nested-for-ever": _response(200, b'{"x":' + _NESTED + b"}"),
    "an-error-that-is-nested-for-ever": _response(500, _NESTED),
    "a-charset-that-is-no-text": _response(500, b"zz", kind="text/html; charset=hex"),
    "a-cookie-that-is-no-ascii": _response(500, b"", "Set-Cookie: a=b", "Set-Cookie: \xff="),
    "another-protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "another-century": _response(500, b"{}", "Date: Sun, 99 Nov 99999 08:49:37 GMT", "Segs-Time: -1", "Retry-After: ²"),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("to", ["a batch", "a question"])
@pytest.mark.parametrize("garbage", _GARBAGE)
async def test_whatever_answers_instead_of_the_receiver_costs_an_attempt_and_nothing_else(
    tmp_path: Path, garbage: str, to: str
) -> None:
    """E11, E16"""
    with Receiver() as receiver:
        (receiver.script if to == "a batch" else receiver.scripts["GET"]).append(_GARBAGE[garbage])
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1)
            await eventually(lambda: site.uplink.state.batches == 1)
            assert (site.uplink.state.failures, site.uplink.state.refused, site.uplink.state.renumbered) == (1, 0, 0)
        assert numbers_as_sent(receiver) == [1]


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
async def test_a_proxy_that_refuses_a_batch_costs_no_batch(tmp_path: Path, status: int) -> None:
    """E16, E24: only the receiver's own words, a problem document, say anything of a batch."""
    with Receiver() as receiver:
        receiver.script.append(_response(status, b"<html>nginx</html>", kind="text/html"))
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1)
            await eventually(lambda: site.uplink.state.trouble == f"{status}: <html>nginx</html>")
            assert (await site.store.backlog()).readings == 1
            assert (site.uplink.state.refused, site.uplink.state.renumbered) == (0, 0)


@pytest.mark.parametrize(
    "key", ["", "segs_part\nsecret", "segs_part\r\nX-Header: secret", "segs_\x01secret", "segs_ secret"]
)
async def test_a_key_file_that_holds_no_key_is_said_without_its_content(tmp_path: Path, key: str) -> None:
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url, key=key) as site:
            await site.put(1)
            await eventually(lambda: "no gateway key" in (site.uplink.state.trouble or ""))
            assert str(tmp_path / "gateway.key") in (site.uplink.state.trouble or "")
            assert "secret" not in (site.uplink.state.trouble or "").replace(str(tmp_path), "")
        assert not receiver.keys


async def test_one_connection_serves_the_live_lane_and_one_more_the_others(tmp_path: Path) -> None:
    """E30: connections are kept, and do not become more."""
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url) as site:
            await site.put_singly(receiver, *range(20))
        assert len(receiver.connections) <= 2
    assert numbers(receiver) == list(range(20))


async def test_pauses_grow_to_half_a_minute_and_are_drawn_from_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E25: gateways that lost the receiver in the same second come back in different ones."""
    pauses_s: list[float] = []

    async def noted(_stop: asyncio.Event, seconds: float, _moving: object) -> None:
        pauses_s.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr("edge.uplink.live.pause", noted)
    async with sending(tmp_path, f"http://127.0.0.1:{free_port()}") as site:
        await site.put(1)
        await eventually(lambda: len(pauses_s) >= 40, timeout_s=20)
    assert max(pauses_s[:2]) <= 1.0
    lasting_s = pauses_s[10:40]
    assert max(lasting_s) <= 30.0
    assert min(lasting_s) < 5.0
    assert max(lasting_s) > 25.0


async def test_attempts_without_a_receiver_are_spread_out(tmp_path: Path) -> None:
    """E25: full jitter, and no flood of attempts, however much there is to send."""
    backlog = [range(at, at + 100) for at in range(0, 10_000, 100)]
    async with sending(tmp_path, f"http://127.0.0.1:{free_port()}", backlog=backlog) as site:
        await site.put(10_001)
        await asyncio.sleep(2.0)
        assert site.uplink.state.failures <= 12
        await eventually(lambda: site.uplink.state.failures >= 2)
        assert "ConnectError" in (site.uplink.state.trouble or "")


async def test_nothing_is_sent_before_the_receiver_was_asked(tmp_path: Path) -> None:
    """E23, E25: after an outage a question comes back first, and one of them."""
    with Receiver() as receiver:
        receiver.scripts["GET"].extend([500, 500])
        async with sending(tmp_path, receiver.url, backlog=[range(100)]) as site:
            await eventually(lambda: site.uplink.state.live.failures == 2)
            assert not receiver.requests
            await eventually(lambda: len(receiver.stored) == 100)
        assert site.uplink.state.backlog.failures == 0
