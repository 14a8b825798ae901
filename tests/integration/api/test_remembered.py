"""Newest values come from memory while nothing has changed: what ends counts at once, what arrives is shown."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from local.servers import free_port
from tests.integration.api.conftest import PASSWORD, Api, Person, await_ready, start
from tests.integration.api.measured import arrive, number, register

SECOND = timedelta(seconds=1)
# From a commit on another connection to the notification in the API's process, on a busy machine too.
TOLD_S = 0.5


@pytest.fixture(scope="module")
def api_settings() -> dict[str, str]:
    """Whoever asks as fast as answers come would soon be told to wait."""
    return {"SEGS_API_REQUESTS_PER_MINUTE": "10000000"}


@dataclass
class Asking:
    """Somebody who looks at a meter all the time, by a connection of their own."""

    client: httpx.Client
    person: Person
    code: str

    @property
    def path(self) -> str:
        return f"/api/v1/telemetry/meters/{self.code}/latest"

    def ask(self, token: str | None = None) -> httpx.Response:
        return self.client.get(self.path, headers={"authorization": f"Bearer {token or self.person.token}"})

    def power_w(self, token: str | None = None) -> float | None:
        answer = self.ask(token)
        assert answer.status_code == 200, answer.text
        found = answer.json()["data"]["reading"]
        return None if found is None else float(found["power_w"])

    def count(self, source: str) -> float:
        found = re.search(
            rf'^segs_api_latest_total{{source="{source}"}} (\S+)$', self.client.get("/metrics").text, re.M
        )
        assert found is not None
        return float(found[1])

    def remembered(self, token: str | None = None) -> httpx.Response:
        """The first answer that comes from memory."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            before = self.count("memory")
            answer = self.ask(token)
            if self.count("memory") > before:
                return answer
        raise AssertionError("nothing is remembered")


@pytest.fixture
def asking(api: Api) -> Iterator[Callable[[], Asking]]:
    """Makes somebody with a meter whose newest reading, of 100 W, arrived a minute ago."""
    made: list[httpx.Client] = []

    def make() -> Asking:
        person = api.person()
        client = httpx.Client(base_url=api.url, trust_env=False, timeout=20)
        made.append(client)
        found = Asking(client, person, person.meter())
        register(api, found.code)
        arrive(api, found.code, 100, datetime.now(UTC) - timedelta(minutes=1))
        return found

    yield make
    for client in made:
        client.close()


@contextmanager
def stopped(dsn: str, condition: str) -> Iterator[None]:
    """The backends of which `condition` is true stand still."""
    query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND " + condition
    with psycopg.connect(dsn, autocommit=True) as connection:
        pids = [pid for (pid,) in connection.execute(query.encode())]
        assert pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


_OURS = "application_name = 'segs-api'"
_LISTENS = _OURS + " AND strpos(query, 'pg_listening_channels') > 0"


def _is_over(asking: Asking) -> None:
    assert asking.ask().status_code == 401


def _shows_nothing(asking: Asking) -> None:
    assert asking.power_w() is None


def _logout(api: Api, asking: Asking, admin: Person) -> httpx.Response:
    return api.post("/auth/logout", token=asking.person.token)


def _logout_all(api: Api, asking: Asking, admin: Person) -> httpx.Response:
    return api.post("/auth/logout-all", token=asking.person.token)


def _session(api: Api, asking: Asking, admin: Person) -> httpx.Response:
    [listed] = api.get("/auth/sessions", token=asking.person.token).json()["data"]
    return api.delete(f"/auth/sessions/{listed['session_id']}", token=asking.person.token)


def _reuse(api: Api, asking: Asking, admin: Person) -> httpx.Response:
    token = {"refresh_token": asking.person.tokens["refresh_token"]}
    assert api.post("/auth/refresh-token", token).status_code == 200
    api.do("UPDATE sessions SET rotated_at = rotated_at - INTERVAL '1 h', created_at = created_at - INTERVAL '2 h'"
           " WHERE user_id = %s AND rotated_at IS NOT NULL", asking.person.user_id)  # fmt: skip
    asking.remembered()
    answer = api.post("/auth/refresh-token", token)
    assert answer.status_code == 401
    return httpx.Response(200)


def _suspend(api: Api, asking: Asking, admin: Person) -> httpx.Response:
    return api.post(f"/users/{asking.person.user_id}/suspend", token=admin.token)


def _role(api: Api, asking: Asking, admin: Person) -> httpx.Response:
    return api.put(f"/users/{asking.person.user_id}/role", {"role": "OPERATOR"}, token=admin.token)


def _delete(api: Api, asking: Asking, admin: Person) -> httpx.Response:
    return api.delete(f"/users/{asking.person.user_id}", token=admin.token)


def _leave(api: Api, asking: Asking, admin: Person) -> httpx.Response:
    return api.post("/users/me/delete", {"password": PASSWORD}, token=asking.person.token)


def _owner(api: Api, asking: Asking, admin: Person) -> httpx.Response:
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    body = {"user_id": api.person().user_id, "from": since}
    return api.post(f"/meters/{asking.code}/owners", body, token=admin.token)


def _ended(api: Api, asking: Asking, admin: Person) -> httpx.Response:
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    return api.post(f"/meters/{asking.code}/owners/end", {"from": since}, token=admin.token)


End = Callable[[Api, Asking, Person], httpx.Response]
ENDS: list[tuple[End, Callable[[Asking], None], int]] = [
    (_logout, _is_over, 25),
    (_logout_all, _is_over, 25),
    (_session, _is_over, 25),
    (_reuse, _is_over, 5),
    (_suspend, _is_over, 25),
    (_role, _is_over, 25),
    (_delete, _is_over, 10),
    (_leave, _is_over, 2),
    (_owner, _shows_nothing, 25),
    (_ended, _shows_nothing, 25),
]


@pytest.mark.long
@pytest.mark.parametrize(("end", "over", "times"), ENDS)
def test_what_ends_is_over_with_the_next_question(
    api: Api, asking: Callable[[], Asking], end: End, over: Callable[[Asking], None], times: int
) -> None:
    """D11, D12: by whatever way, in the process that heard of it, however late the notification is; and it stays so."""
    admin = api.person("ADMIN")
    for n in range(times):
        who = asking()
        assert who.remembered().json()["data"]["reading"]["power_w"] == 100
        with stopped(api.domain, _LISTENS) if n % 2 else nullcontext():
            answer = end(api, who, admin)
            assert answer.is_success, answer.text
            for _ in range(3):
                over(who)
        over(who)


def test_another_password_ends_what_other_sessions_remember(api: Api, asking: Callable[[], Asking]) -> None:
    """D11."""
    who = asking()
    other = api.login(who.person.email).json()["data"]["access_token"]
    who.remembered(other)
    who.remembered()
    change = {"old_password": PASSWORD, "new_password": "another horse entirely"}
    assert api.post("/auth/change-password", change, token=who.person.token).status_code == 200
    assert who.ask(other).status_code == 401
    assert who.power_w() == 100


def test_who_claims_a_meter_again_is_shown_what_is_theirs_now(api: Api, asking: Callable[[], Asking]) -> None:
    admin, who = api.person("ADMIN"), asking()
    hour = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    arrive(api, who.code, 50, datetime.now(UTC) - timedelta(hours=2))
    assert api.post(f"/meters/{who.code}/owners/end", {"from": hour}, token=admin.token).is_success
    assert who.remembered().json()["data"]["reading"]["power_w"] == 50
    code = api.post(f"/meters/{who.code}/claims", {}, token=admin.token).json()["data"]["code"]
    assert api.post("/meters/claim", {"claim_code": code}, token=who.person.token).status_code == 200
    arrive(api, who.code, 200)
    time.sleep(TOLD_S)
    assert who.power_w() == 200


def _followed(asking: Asking, changed: Callable[[httpx.Response], bool], within_s: float, since: float) -> None:
    """No answer that was asked for later than `within_s` after `since` is the old one, and none is again after that."""
    seen = False
    while time.monotonic() - since < within_s + 0.5:
        began = time.monotonic()
        new = changed(asking.ask())
        assert new or not seen, "and back again"
        assert new or began - since < within_s
        seen = new


def _refused(answer: httpx.Response) -> bool:
    return answer.status_code == 401


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users SET suspended_at = now() WHERE user_id = %s",
        "SELECT user_role_set(%s, 'OPERATOR', now())",
        "SELECT sessions_revoke(%s, 'logout_all', now())",
        "UPDATE sessions SET expires_at = now() WHERE user_id = %s",
    ],
)
def test_what_another_process_ends_is_over_with_its_notification(
    api: Api, asking: Callable[[], Asking], statement: str
) -> None:
    """D11."""
    for _ in range(3):
        who = asking()
        who.remembered()
        api.do(statement, who.person.user_id)
        _followed(who, _refused, TOLD_S, time.monotonic())


@pytest.mark.long
def test_a_logout_at_one_process_of_the_api_is_heard_of_by_another(
    api: Api, asking: Callable[[], Asking], tmp_path: Path
) -> None:
    """D11, C11."""
    port, log = free_port(), tmp_path / "log"
    second = start(api.environment, log, port)
    url = f"http://127.0.0.1:{port}"
    try:
        await_ready(url, second, log)
        for _ in range(10):
            who = asking()
            with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
                there = Asking(client, who.person, who.code)
                there.remembered()
                assert api.post("/auth/logout", token=who.person.token).status_code == 200
                _followed(there, _refused, TOLD_S, time.monotonic())
    finally:
        second.terminate()
        second.wait(timeout=20)


def test_a_listener_that_hangs_keeps_nothing_alive_for_longer_than_a_second(
    api: Api, asking: Callable[[], Asking]
) -> None:
    """D11."""
    who = asking()
    who.remembered()
    with stopped(api.domain, _LISTENS):
        api.do("UPDATE users SET suspended_at = now() WHERE user_id = %s", who.person.user_id)
        _followed(who, _refused, 1.05, time.monotonic())


def test_a_listener_that_was_killed_forgets_all_and_comes_back(api: Api, asking: Callable[[], Asking]) -> None:
    """D11."""
    who = asking()
    who.remembered()
    killed = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "
    assert api.do(killed + _LISTENS) == [(True,)]
    api.do("UPDATE users SET suspended_at = now() WHERE user_id = %s", who.person.user_id)
    _followed(who, _refused, TOLD_S, time.monotonic())
    another = asking()
    another.remembered()
    assert api.post("/auth/logout", token=another.person.token).status_code == 200
    assert another.ask().status_code == 401


def test_an_answer_that_was_under_way_during_a_change_is_not_kept(api: Api, asking: Callable[[], Asking]) -> None:
    """D12: what may be read was read before the change, and the readings come after its notification."""
    for _ in range(5):
        who, before = asking(), asking()
        before.remembered()
        with psycopg.connect(api.telemetry) as telemetry, ThreadPoolExecutor(1) as pool:
            telemetry.execute("LOCK TABLE raw_readings IN ACCESS EXCLUSIVE MODE")
            asked = pool.submit(who.ask)
            _until_waiting(api, telemetry=True)
            _take_away(api, who)
            time.sleep(TOLD_S)
            telemetry.commit()
            assert asked.result().json()["data"]["reading"]["power_w"] == 100
        for _ in range(10):
            assert who.power_w() is None
        assert who.remembered().json()["data"]["reading"] is None


def _take_away(api: Api, who: Asking) -> None:
    """The meter is not theirs since an hour ago, before its newest reading."""
    valid = "tstzrange('-infinity', now() - INTERVAL '1 hour')"
    api.do(f"UPDATE meter_owners SET valid = {valid} WHERE user_id = %s", who.person.user_id)


def test_a_right_that_was_read_behind_a_lock_is_not_kept(api: Api, asking: Callable[[], Asking]) -> None:
    """D12: the question's snapshot is older than the change that it waited for."""
    for _ in range(5):
        who = asking()
        with psycopg.connect(api.domain) as connection, ThreadPoolExecutor(1) as pool:
            connection.execute("LOCK TABLE meter_owners IN ACCESS EXCLUSIVE MODE")
            asked = pool.submit(who.ask)
            _until_waiting(api)
            connection.execute(
                "UPDATE meter_owners SET valid = tstzrange('-infinity', now() - INTERVAL '1 hour') WHERE user_id = %s",
                [who.person.user_id],
            )
            connection.commit()
            assert asked.result().status_code == 200
        time.sleep(TOLD_S)
        for _ in range(10):
            assert who.power_w() is None


def _until_waiting(api: Api, *, telemetry: bool = False) -> None:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'segs-api'"
        " AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 5
    while api.do(query, telemetry=telemetry) == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _shown(asking: Asking, power_w: float, within_s: float) -> None:
    began = time.monotonic()
    while True:
        asked = time.monotonic()
        if asking.power_w() == power_w:
            return
        assert asked - began < within_s


def test_a_reading_is_shown_soon_after_it_arrived(api: Api, asking: Callable[[], Asking]) -> None:
    who = asking()
    for n in range(15):
        who.remembered()
        arrive(api, who.code, 200 + n)
        _shown(who, 200 + n, 0.3)


def test_late_readings_and_those_of_another_gateway_are_shown_too(api: Api, asking: Callable[[], Asking]) -> None:
    who = asking()
    now = datetime.now(UTC)
    code = who.person.meter()
    register(api, code)
    arrive(api, code, 1, now - timedelta(hours=6))
    late = Asking(who.client, who.person, code)
    late.remembered()
    arrive(api, code, 2, now - timedelta(hours=5))
    _shown(late, 2, 0.3)

    who.remembered()
    api.do("INSERT INTO gateway_registry VALUES (2, 'barn') ON CONFLICT DO NOTHING", telemetry=True)
    api.do("UPDATE device_registry SET valid = tstzrange('-infinity', now()) WHERE meter_id = %s", number(who.code),
           telemetry=True)  # fmt: skip
    api.do(
        "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms, valid)"
        " SELECT 2, device, meter_id, meter_code, region, timezone, interval_ms, tstzrange(upper(valid), 'infinity')"
        " FROM device_registry WHERE meter_id = %s",
        number(who.code),
        telemetry=True,
    )
    arrive(api, who.code, 300, gateway=2)
    _shown(who, 300, 0.3)
    # What the old gateway still had is delivered after the device has moved.
    who.remembered()
    arrive(api, who.code, 301, gateway=1)
    _shown(who, 301, 0.3)


def test_what_nobody_tells_of_is_shown_within_ten_seconds(api: Api, asking: Callable[[], Asking]) -> None:
    """What leaves the quarantine belongs to a batch that arrived long ago."""
    who = asking()
    who.remembered()
    api.do("INSERT INTO raw_readings (time, meter_id, batch_id, power_w) VALUES (now(), %s, 1, 400)", number(who.code),
           telemetry=True)  # fmt: skip
    _shown(who, 400, 10.1)


def test_what_telemetry_does_not_say_is_not_taken_for_nothing(api: Api, asking: Callable[[], Asking]) -> None:
    """While nobody knows what has arrived, nothing is answered from memory."""
    who = asking()
    who.remembered()
    with ThreadPoolExecutor(1) as pool:
        with stopped(api.telemetry, _OURS):
            arrive(api, who.code, 500)
            time.sleep(0.3)
            asked = pool.submit(who.power_w)
            time.sleep(0.2)
            assert not asked.done()
        assert asked.result() == 500


def test_an_answer_from_memory_is_the_answer_of_the_databases(api: Api, asking: Callable[[], Asking]) -> None:
    """The same bytes and headers, alone and in a list, whole or unchanged."""
    who = asking()
    bearer = {"authorization": f"Bearer {who.person.token}"}
    own = {"date", "x-request-id", "ratelimit"}

    def said(path: str, **headers: str) -> tuple[object, ...]:
        answer = who.client.get(path, headers=bearer | headers)
        told = {key: value for key, value in answer.headers.items() if key not in own}
        return answer.status_code, told, answer.content

    several = f"/api/v1/telemetry/latest?meter={who.code}"
    tag = str(who.ask().headers["etag"])
    asked: list[tuple[str, dict[str, str]]] = [
        (who.path, {}),
        (who.path, {"accept": "application/*"}),
        (who.path, {"if-none-match": tag}),
        (who.path, {"if-none-match": '"other"'}),
        (several, {}),
    ]
    for path, headers in asked:
        # Forgets all.
        api.do("SELECT pg_notify('segs_access', '')")
        time.sleep(TOLD_S)
        both, memory = who.count("both"), who.count("memory")
        first = said(path, **headers)
        assert (who.count("both"), who.count("memory")) == (both + 1, memory)
        deadline = time.monotonic() + 10
        while who.count("memory") == memory:
            assert said(path, **headers) == first
            assert time.monotonic() < deadline
    alone, together = said(who.path), said(several)
    for _ in range(10):
        assert (said(who.path), said(several)) == (alone, together)
    assert alone[2] != together[2]


def test_staff_are_never_answered_from_memory(api: Api, asking: Callable[[], Asking]) -> None:
    """D13: each look is in the log before it is answered."""
    who, admin, operator = asking(), api.person("ADMIN"), api.person("OPERATOR", "north")
    who.remembered()
    memory = who.count("memory")
    for staff in (admin, operator):
        for _ in range(10):
            assert who.power_w(staff.token) == 100
        looks = "SELECT count(*) FROM audit_logs WHERE action = 'READ' AND actor = %s AND row_key = %s"
        assert api.do(looks, f"user:{staff.user_id}", who.code) == [(10,)]
    assert who.count("memory") == memory


def test_a_token_that_expires_is_refused_although_its_answer_is_remembered(
    api: Api, asking: Callable[[], Asking]
) -> None:
    who = asking()
    [(session_id,)] = api.do("SELECT family_id FROM sessions WHERE user_id = %s", who.person.user_id)
    # Clocks may differ by five seconds.
    issued = datetime.now(UTC) - timedelta(seconds=900 + 5 - 3)
    short, access = api.access.issue(user_id=who.person.user_id, session_id=session_id, role="USER", now=issued)
    who.remembered(short)
    left_s = (access.expires_at + timedelta(seconds=5) - datetime.now(UTC)).total_seconds()
    while left_s > -0.05:
        time.sleep(max(left_s, 0) + 0.05)
        left_s = (access.expires_at + timedelta(seconds=5) - datetime.now(UTC)).total_seconds()
    assert who.ask(short).status_code == 401


@pytest.mark.long
def test_an_api_that_nobody_asks_asks_nothing(api: Api, asking: Callable[[], Asking]) -> None:
    who = asking()
    who.remembered()
    time.sleep(11)

    def newest() -> list[tuple[Any, ...]]:
        query = (
            "SELECT max(query_start) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'segs-api'"
        )
        return api.do(query) + api.do(query, telemetry=True)

    before = newest()
    time.sleep(2)
    assert newest() == before
