"""Readings as they arrive: each once, when it arrives, also over breaks, restarts and overlapping transactions."""

import json
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from local.servers import free_port
from tests.integration.api.conftest import Api, Person, await_ready, start
from tests.integration.api.measured import number, register

SECOND = timedelta(seconds=1)


class Stream:
    """Events of a stream as they come."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200, answer.read()
        self._lines = answer.iter_lines()
        self.last_id: str | None = None

    def event(self) -> tuple[str, Any]:
        """The next one that is no comment; comments alone are waited for no longer than a minute."""
        name = data = None
        until_s = time.monotonic() + 60
        for line in self._lines:
            if time.monotonic() > until_s:
                raise TimeoutError
            field, _, value = line.partition(": ")
            if field == "id":
                self.last_id = value
            elif field == "event":
                name = value
            elif field == "data":
                data = json.loads(value)
            elif not line and name is not None:
                return name, data
            elif not line:
                name = data = None
        raise EOFError

    def powers(self, count: int) -> list[tuple[str, float]]:
        """Code and power of the next `count` readings at least."""
        found: list[tuple[str, float]] = []
        while len(found) < count:
            name, data = self.event()
            assert name == "readings", (name, data)
            found += [(code, row["power_w"]) for code, rows in data.items() for row in rows]
        return found


@contextmanager
def watching(
    api: Api, who: Person, *codes: str, last_id: str | None = None, url: str | None = None
) -> Iterator[Stream]:
    headers = {"authorization": f"Bearer {who.token}"} | ({} if last_id is None else {"last-event-id": last_id})
    path = f"{url or api.url}/api/v1/telemetry/live"
    with (
        httpx.Client(trust_env=False, timeout=20) as client,
        client.stream("GET", path, params={"meter": list(codes)}, headers=headers) as answer,
    ):
        stream = Stream(answer)
        assert stream.event()[0] == "begin"
        yield stream


def deliver(connection: psycopg.Connection, readings: list[tuple[str, datetime, float]]) -> None:
    """A batch as the receiver stores one: its row in the ledger and its readings, in one transaction."""
    times = [at for _, at, _ in readings]
    row = connection.execute(
        "INSERT INTO ingest_batches (gateway_id, stream, seq, sha256, received_at, readings, stored, duplicates,"
        " first_time, last_time) VALUES (1, %s, 1, sha256('x'), now(), %s, %s, 0, %s, %s) RETURNING batch_id",
        [uuid.uuid4(), len(readings), len(readings), min(times), max(times)],
    ).fetchone()
    assert row is not None
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO raw_readings (time, meter_id, batch_id, power_w) VALUES (%s, %s, %s, %s)",
            [(at, number(code), row[0], power_w) for code, at, power_w in readings],
        )


def store(api: Api, *readings: tuple[str, datetime, float]) -> None:
    with psycopg.connect(api.telemetry) as connection:
        deliver(connection, list(readings))


@pytest.fixture
def watched(api: Api) -> tuple[Person, str]:
    person = api.person()
    code = person.meter()
    register(api, code)
    return person, code


def test_readings_come_when_they_arrive_and_late_ones_too(api: Api, watched: tuple[Person, str]) -> None:
    person, code = watched
    now = datetime.now(UTC)
    store(api, (code, now - SECOND, 1))
    with watching(api, person, code) as stream:
        store(api, (code, now, 2))
        assert stream.powers(1) == [(code, 2)]
        store(api, (code, now - timedelta(hours=5), 3))
        assert stream.powers(1) == [(code, 3)]


def test_who_comes_back_misses_nothing_and_gets_nothing_twice(api: Api, watched: tuple[Person, str]) -> None:
    person, code = watched
    now, last_id, seen = datetime.now(UTC), None, []
    sent = 0
    for _ in range(4):
        with watching(api, person, code, last_id=last_id) as stream:
            if sent:
                seen += stream.powers(2)
            store(api, (code, now + sent * SECOND, sent))
            sent += 1
            seen += stream.powers(1)
            last_id = stream.last_id
        # Nobody looks on.
        for _ in range(2):
            store(api, (code, now + sent * SECOND, sent))
            sent += 1

    assert [power_w for _, power_w in seen] == list(range(len(seen)))
    assert len(seen) == 10


def test_a_batch_that_was_begun_before_and_ended_after_another_is_not_missed(
    api: Api, watched: tuple[Person, str]
) -> None:
    """Numbers are drawn in the order of beginning; a cursor by number would be past it."""
    person, code = watched
    now = datetime.now(UTC)
    # Who makes a chunk holds up everybody else who writes to it; in operation it is made ahead of time.
    store(api, (code, now - SECOND, 0), (code, now + 3 * SECOND, 0))
    with watching(api, person, code) as stream, psycopg.connect(api.telemetry) as slow:
        deliver(slow, [(code, now, 1)])
        store(api, (code, now + SECOND, 2))
        assert stream.powers(1) == [(code, 2)]
        with psycopg.connect(api.telemetry) as third:
            deliver(third, [(code, now + 2 * SECOND, 3)])
            slow.commit()
            assert stream.powers(1) == [(code, 1)]
            last_id = stream.last_id
    with watching(api, person, code, last_id=last_id) as stream:
        assert stream.powers(1) == [(code, 3)]


def test_another_process_goes_on_where_one_was_killed(api: Api, watched: tuple[Person, str], tmp_path: Path) -> None:
    person, code = watched
    now = datetime.now(UTC)
    ports = [free_port(), free_port()]
    logs = [tmp_path / "one", tmp_path / "two"]
    processes = [start(api.environment, log, port) for log, port in zip(logs, ports, strict=True)]
    try:
        for port, process, log in zip(ports, processes, logs, strict=True):
            await_ready(f"http://127.0.0.1:{port}", process, log)
        with watching(api, person, code, url=f"http://127.0.0.1:{ports[0]}") as stream:
            store(api, (code, now, 1))
            assert stream.powers(1) == [(code, 1)]
            processes[0].send_signal(signal.SIGKILL)
            store(api, (code, now + SECOND, 2))
            with pytest.raises((httpx.HTTPError, EOFError)):
                stream.powers(1)
        with watching(api, person, code, last_id=stream.last_id, url=f"http://127.0.0.1:{ports[1]}") as again:
            assert again.powers(1) == [(code, 2)]
            # And a process that is told to stop does not wait for its streams.
            processes[1].send_signal(signal.SIGTERM)
            with pytest.raises(EOFError):
                again.event()
        began = time.monotonic()
        assert processes[1].wait(timeout=20) == 0
        assert time.monotonic() - began < 5
    finally:
        for process in processes:
            process.kill()
            process.wait(timeout=10)


def test_a_long_absence_is_made_up_for_in_pieces(api: Api, watched: tuple[Person, str]) -> None:
    person, code = watched
    now = datetime.now(UTC) - timedelta(hours=2)
    with watching(api, person, code) as stream:
        last_id = stream.last_id
    for batch in range(4):
        store(api, *((code, now + (2000 * batch + n) * SECOND / 2, 2000 * batch + n) for n in range(2000)))
    with watching(api, person, code, last_id=last_id) as stream:
        first = stream.powers(1)
        assert len(first) == 6000
        assert [power_w for _, power_w in first + stream.powers(1)] == list(range(8000))


def test_nobody_watches_what_is_not_theirs_nor_goes_on_when_it_is_no_more(
    api: Api, watched: tuple[Person, str]
) -> None:
    """D7, D12: a session that is over ends the stream, and so does a new owner."""
    person, code = watched
    another = api.person()
    refused = api.get("/telemetry/live", token=another.token, meter=[code])
    assert (refused.status_code, refused.json()["detail"]) == (404, f"there is no meter {code}")
    with watching(api, person, code) as stream:
        api.do("SELECT meter_give(%s, %s, now(), now())", code, another.user_id)
        store(api, (code, datetime.now(UTC) + SECOND, 1))
        time.sleep(1.5)
        assert api.post("/auth/logout-all", token=person.token).status_code == 200
        assert stream.event() == ("end", {"reason": "this session is over; log in again"})


def test_a_person_has_four_streams_at_most_and_a_place_comes_back(api: Api, watched: tuple[Person, str]) -> None:
    person, code = watched
    path = "/telemetry/live"
    with (
        watching(api, person, code),
        watching(api, person, code),
        watching(api, person, code),
        watching(api, person, code),
    ):
        refused = api.get(path, token=person.token, meter=[code])
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:segs:problem:too-many-requests")
        assert int(refused.headers["retry-after"]) > 0
    deadline = time.monotonic() + 10
    while True:
        try:
            with watching(api, person, code):
                break
        except AssertionError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.mark.parametrize("last_id", ["x", "!!", "MTox", "OTk5OTk5OTk5OTk6OTk5OTk5OTk5OTk6", "MTox Oi8v"])
def test_an_id_that_is_none_of_ours_is_refused(api: Api, watched: tuple[Person, str], last_id: str) -> None:
    person, code = watched
    headers = {"authorization": f"Bearer {person.token}", "last-event-id": last_id}
    answer = api.client.get("/api/v1/telemetry/live", params={"meter": code}, headers=headers)
    assert (answer.status_code, answer.json()["where"]) == (422, "header.Last-Event-ID")


@pytest.mark.long
def test_a_silent_meter_s_stream_says_that_it_lives(api: Api, watched: tuple[Person, str]) -> None:
    person, code = watched
    headers = {"authorization": f"Bearer {person.token}"}
    path = f"{api.url}/api/v1/telemetry/live"
    with (
        httpx.Client(trust_env=False, timeout=20) as client,
        client.stream("GET", path, params={"meter": code}, headers=headers) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert any(line.startswith(": ") for line in answer.iter_lines())
