"""The uplink against a real HTTP server that misbehaves as told."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.buffer.store import Store
from edge.clock import Clock
from edge.reading import Reading
from edge.uplink import Uplink
from tests.integration.edge.peers import Receiver, eventually, free_port


def _reading(number: int) -> Reading:
    return Reading("meter", 1_795_000_000_000_000 + number * 1_000_000, {"energy_import_wh": number}, 0, 1000)


@asynccontextmanager
async def _sending(
    tmp_path: Path,
    url: str,
    *,
    key: str | None = "segs_secret",
    timeout_s: float = 5.0,
    max_readings: int = 5000,
    send_interval_s: float = 0.05,
) -> AsyncIterator[tuple[Store, Uplink]]:
    key_file = tmp_path / "gateway.key"
    if key is not None:
        key_file.write_text(key + "\n")
    stop = asyncio.Event()
    store = await Store.open(tmp_path / "buffer.sqlite", clock=Clock(), max_bytes=2**30)
    uplink = Uplink(
        store=store,
        url=url,
        key_file=key_file,
        clock=Clock(),
        news=asyncio.Event(),
        send_interval_s=send_interval_s,
        timeout_s=timeout_s,
        max_readings=max_readings,
        jitter=random.Random(1),
    )
    try:
        async with uplink, asyncio.TaskGroup() as group:
            group.create_task(uplink.run(stop))
            yield store, uplink
            stop.set()
    finally:
        await store.close()


async def _put(store: Store, uplink: Uplink, *numbers: int) -> None:
    await store.commit([_reading(number) for number in numbers])
    uplink._news.set()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that are minutes long take an instant."""
    monkeypatch.setattr("edge.uplink.pause", lambda stop, _seconds, _moving: asyncio.sleep(0.05))


def _numbers(receiver: Receiver) -> list[int]:
    return sorted(values["energy_import_wh"] for _, _, values in receiver.rows())


async def test_a_batch_goes_with_the_key_and_is_deleted_on_its_receipt(tmp_path: Path) -> None:
    with Receiver() as receiver:
        async with _sending(tmp_path, receiver.url) as (store, uplink):
            await _put(store, uplink, 1, 2, 3)
            await eventually(lambda: uplink.state.batches == 1)
            assert (await store.backlog()).readings == 0
        assert receiver.keys == ["Bearer segs_secret"]
        assert _numbers(receiver) == [1, 2, 3]


async def test_a_lost_reply_is_answered_by_the_same_bytes_again(tmp_path: Path) -> None:
    """E16, E23: committed by the receiver, but its reply never came."""
    with Receiver() as receiver:
        receiver.script.extend(["reset-after-commit", "reset-after-commit"])
        async with _sending(tmp_path, receiver.url) as (store, uplink):
            await _put(store, uplink, 1, 2)
            await eventually(lambda: len(receiver.bodies) == 1)
            await _put(store, uplink, 3)
            await eventually(lambda: uplink.state.batches == 2)
        assert [seq for seq, _ in receiver.bodies] == [1, 1, 1, 2]
        assert len({body for seq, body in receiver.bodies if seq == 1}) == 1
        assert _numbers(receiver) == [1, 2, 3]


async def test_retry_after_is_honoured(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.script.append((503, {"Retry-After": "2"}))
        async with _sending(tmp_path, receiver.url) as (store, uplink):
            await _put(store, uplink, 1)
            await eventually(lambda: uplink.state.batches == 1)
        first, second = receiver.requests
        assert 2.0 <= second - first < 4.0


async def test_a_receiver_that_hangs_is_given_up_in_time(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.script.append("hang")
        async with _sending(tmp_path, receiver.url, timeout_s=0.5) as (store, uplink):
            await _put(store, uplink, 1)
            await eventually(lambda: uplink.state.batches == 1)
        assert 0.4 < receiver.requests[1] - receiver.requests[0] < 3.0


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
async def test_a_batch_that_is_refused_for_good_is_set_aside_and_the_next_goes(tmp_path: Path, status: int) -> None:
    """E26"""
    with Receiver() as receiver:
        receiver.script.append(status)
        async with _sending(tmp_path, receiver.url) as (store, uplink):
            await _put(store, uplink, 1)
            await eventually(lambda: uplink.state.refused == 1)
            await _put(store, uplink, 2)
            await eventually(lambda: uplink.state.batches == 1)
            async with store._db.execute("SELECT seq, status, reason FROM refused") as cursor:
                assert await cursor.fetchall() == [(1, status, f"scripted {status}; $.devices[0]")]
        assert _numbers(receiver) == [2]


@pytest.mark.usefixtures("impatient")
async def test_a_key_that_is_refused_keeps_everything_and_a_new_one_needs_no_restart(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.script.append(401)
        async with _sending(tmp_path, receiver.url, key="segs_revoked") as (store, uplink):
            await _put(store, uplink, 1)
            await eventually(lambda: uplink.state.trouble == "401: scripted 401; $.devices[0]")
            assert (await store.backlog()).readings == 1
            (tmp_path / "gateway.key").write_text("segs_renewed")
            await eventually(lambda: uplink.state.batches == 1)
            assert uplink.state.trouble is None
        assert receiver.keys == ["Bearer segs_revoked", "Bearer segs_renewed"]


async def test_a_receiver_on_this_machine_is_reached_without_the_proxy_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that needs a proxy for the world still talks to itself."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with Receiver() as receiver:
        async with _sending(tmp_path, receiver.url) as (store, uplink):
            await _put(store, uplink, 1)
            await eventually(lambda: uplink.state.batches == 1)
    assert uplink.state.failures == 0


async def test_a_missing_key_is_said_and_waited_for(tmp_path: Path) -> None:
    with Receiver() as receiver:
        async with _sending(tmp_path, receiver.url, key=None) as (store, uplink):
            await _put(store, uplink, 1)
            await eventually(lambda: "no gateway key" in (uplink.state.trouble or ""))
            assert (await store.backlog()).readings == 1
        assert not receiver.requests


async def test_a_receipt_for_another_batch_deletes_nothing(tmp_path: Path) -> None:
    """E16"""
    with Receiver() as receiver:
        receiver.script.append("foreign-receipt")
        async with _sending(tmp_path, receiver.url) as (store, uplink):
            await _put(store, uplink, 1)
            await eventually(lambda: "the receipt is for" in (uplink.state.trouble or ""))
            assert (await store.backlog()).readings == 1


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
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("garbage", _GARBAGE)
async def test_whatever_answers_instead_of_the_receiver_costs_an_attempt_and_nothing_else(
    tmp_path: Path, garbage: str
) -> None:
    """E11, E16"""
    with Receiver() as receiver:
        receiver.script.append(_GARBAGE[garbage])
        async with _sending(tmp_path, receiver.url) as (store, uplink):
            await _put(store, uplink, 1)
            await eventually(lambda: uplink.state.batches == 1)
            assert (uplink.state.failures, uplink.state.refused) == (1, 0)
        assert _numbers(receiver) == [1]


@pytest.mark.parametrize("status", [400, 413])
async def test_a_proxy_that_refuses_a_batch_costs_no_batch(tmp_path: Path, status: int) -> None:
    """E16, E24: only the receiver's own words, a problem document, set a batch aside."""
    with Receiver() as receiver:
        receiver.script.append(_response(status, b"<html>nginx</html>", kind="text/html"))
        async with _sending(tmp_path, receiver.url) as (store, uplink):
            await _put(store, uplink, 1)
            await eventually(lambda: uplink.state.trouble == f"{status}: <html>nginx</html>")
            assert (await store.backlog()).readings == 1
            assert uplink.state.refused == 0


@pytest.mark.parametrize(
    "key", ["", "segs_part\nsecret", "segs_part\r\nX-Header: secret", "segs_\x01secret", "segs_ secret"]
)
async def test_a_key_file_that_holds_no_key_is_said_without_its_content(tmp_path: Path, key: str) -> None:
    with Receiver() as receiver:
        async with _sending(tmp_path, receiver.url, key=key) as (store, uplink):
            await _put(store, uplink, 1)
            await eventually(lambda: "no gateway key" in (uplink.state.trouble or ""))
            assert str(tmp_path / "gateway.key") in (uplink.state.trouble or "")
            assert "secret" not in (uplink.state.trouble or "").replace(str(tmp_path), "")
        assert not receiver.requests


async def test_a_backlog_drains_without_pauses(tmp_path: Path) -> None:
    """E24"""
    with Receiver() as receiver:
        async with _sending(tmp_path, receiver.url, max_readings=100, send_interval_s=5) as (store, uplink):
            for start in range(0, 5000, 50):
                await store.commit([_reading(number) for number in range(start, start + 50)])
            uplink._news.set()
            began_s = time.monotonic()
            await eventually(lambda: uplink.state.readings == 5000, timeout_s=20)
            assert time.monotonic() - began_s < 15
        assert _numbers(receiver) == list(range(5000))


async def test_pauses_grow_to_half_a_minute_and_are_drawn_from_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E25: gateways that lost the receiver in the same second come back in different ones."""
    pauses_s: list[float] = []

    async def noted(_stop: asyncio.Event, seconds: float, _moving: object) -> None:
        pauses_s.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr("edge.uplink.pause", noted)
    async with _sending(tmp_path, f"http://127.0.0.1:{free_port()}") as (store, uplink):
        await _put(store, uplink, 1)
        await eventually(lambda: len(pauses_s) >= 40, timeout_s=20)
    assert max(pauses_s[:2]) <= 1.0
    lasting_s = pauses_s[10:40]
    assert max(lasting_s) <= 30.0
    assert min(lasting_s) < 5.0
    assert max(lasting_s) > 25.0


async def test_attempts_without_a_receiver_are_spread_out(tmp_path: Path) -> None:
    """E25: full jitter, and no flood of attempts."""
    async with _sending(tmp_path, f"http://127.0.0.1:{free_port()}") as (store, uplink):
        await _put(store, uplink, 1)
        await asyncio.sleep(2.0)
        assert uplink.state.attempts <= 12
        await eventually(lambda: uplink.state.attempts >= 2)
        assert "ConnectError" in (uplink.state.trouble or "")
