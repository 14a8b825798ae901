"""The API dies while somebody takes an alert on, closes it or says something to it: it is done whole, or not at all,
and once for who asks again."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, LiteralString

import httpx
import psycopg
import pytest

from local.servers import PostgresServer, free_port
from tests.faults.test_api import within
from tests.integration.api.conftest import PASSWORD, Api, Person, await_ready, databases, start
from tests.sql.people import SEED

_NOTE = "A fuse of the street has blown"
_KINDS = {"acknowledge": "acknowledged", "close": "closed", "comments": "commented", "actions": "closed"}
"""What each deed, by its path, leaves behind."""
_ADD: LiteralString = (
    "INSERT INTO alerts (meter_id, rule, alert_rule_id, category, severity, state, message, started_at, fired_at,"
    " told_at, told_severity) SELECT m.meter_id, r.rule, r.alert_rule_id, r.category, 'warning', 'firing',"
    " 'Voltage is low', now() - INTERVAL '3 minutes', now() - INTERVAL '2 minutes', now() - INTERVAL '1 minute',"
    " 'warning' FROM meters AS m, alert_rules AS r WHERE m.meter_code = %s AND r.rule = 'under_voltage'"
    " RETURNING alert_id"
)


@dataclass
class Deed:
    """Something that an operator does to an alert that people were told of, sent with a key."""

    api: Api
    operator: Person
    owner: Person
    alert: int
    what: str
    key: str

    def ask(self) -> int | None:
        """The status; None where the API died before it answered."""
        path = "/alerts/actions" if self.what == "actions" else f"/alerts/{self.alert}/{self.what}"
        body: Mapping[str, Any] = {
            "comments": {"text": _NOTE},
            "actions": {"action": "close", "alerts": [self.alert], "note": _NOTE},
        }.get(self.what, {"note": _NOTE})
        headers = {"authorization": f"Bearer {self.operator.token}", "idempotency-key": self.key}
        try:
            return self.api.client.post(f"/api/v1{path}", json=body, headers=headers).status_code
        except httpx.TransportError:
            return None

    def is_done(self) -> bool:
        """Whether it is. All that belongs to it is there, or nothing."""
        [(acknowledged, closed, told)] = self.api.do(
            "SELECT acknowledged_by, resolved_by, tell_at IS NOT NULL OR told_at > resolved_at FROM alerts"
            " WHERE alert_id = %s",
            self.alert,
        )
        events = self.api.do(
            "SELECT kind, user_id, text FROM alert_events WHERE alert_id = %s AND user_id IS NOT NULL", self.alert
        )
        assert events in ([], [(_KINDS[self.what], self.operator.user_id, _NOTE)])
        by = self.operator.user_id if events else None
        kind = _KINDS[self.what]
        assert (acknowledged, closed) == (by if kind == "acknowledged" else None, by if kind == "closed" else None)
        assert bool(told) == (closed is not None)
        return bool(events)

    def messages(self) -> Counter[int]:
        """For whom, once the worker has looked twice."""
        for _ in range(2):
            self.api.do("SELECT alerts_tell(500, clock_timestamp())")
        return Counter(
            user
            for (user,) in self.api.do(
                "SELECT user_id FROM outbox WHERE (payload ->> 'alert_id')::bigint = %s", self.alert
            )
        )


def _kill(api: Api) -> None:
    """And wait until the database has noticed."""
    api.process.kill()
    api.process.wait()
    gone = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'segs_api' AND datname = current_database()"
    assert within(20, lambda: api.do(gone) == [(0,)])


def _start(api: Api) -> None:
    api.process = start(api.environment, api.log, int(api.url.rpartition(":")[2]))
    await_ready(api.url, api.process, api.log)


@pytest.fixture(scope="module")
def api(
    pg_server: PostgresServer,
    domain_template: str,
    telemetry_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    for domain, telemetry in databases(pg_server, domain_template, telemetry_template):
        environment = {
            "SEGS_DOMAIN_DSN": pg_server.dsn(domain, "segs_api"),
            "SEGS_TELEMETRY_DSN": pg_server.dsn(telemetry, "segs_api"),
            "SEGS_ENV": "development",
            "SEGS_KEYS": str(folder / "keys"),
        }
        url, log, owner = f"http://127.0.0.1:{free_port()}", folder / "log", pg_server.dsn(domain)
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(SEED)
        process = start(environment, log, int(url.rpartition(":")[2]))
        await_ready(url, process, log)
        with closing(Api(url, owner, pg_server.dsn(telemetry), environment, process, log)) as made:
            try:
                told = ("user", "create", "--email", "hash@example.net", "--name", "H")
                assert made.segs_cloud(*told, typed=PASSWORD + "\n").returncode == 0
                yield made
            finally:
                made.process.kill()
                made.process.wait()


def _deed(api: Api, what: str) -> Deed:
    if api.process.poll() is not None:
        _start(api)
    owner = api.person()
    [(alert,)] = api.do(_ADD, owner.meter())
    return Deed(api, api.person("OPERATOR", "north"), owner, alert, what, str(uuid.uuid4()))


def _asked_again(deed: Deed) -> None:
    """Who had no answer asks again, of another process."""
    _start(deed.api)
    before = deed.messages() if deed.is_done() else Counter[int]()
    for _ in range(2):
        assert deed.ask() in (200, 201)
        assert deed.is_done()
    told = deed.messages()

    assert before in (Counter(), told)
    assert deed.operator.user_id not in told
    if _KINDS[deed.what] == "closed":
        assert set(told.values()) == {1}
        assert deed.owner.user_id in told
    else:
        assert told == Counter()


@pytest.mark.parametrize("what", _KINDS)
def test_what_a_process_died_amid_is_not_there_and_is_done_once_for_who_asks_again(api: Api, what: str) -> None:
    """D3 and D14: half of it is done, or twice."""
    deed = _deed(api, what)
    with psycopg.connect(api.domain) as blocker, ThreadPoolExecutor(1) as pool:
        blocker.execute("LOCK TABLE alert_events IN EXCLUSIVE MODE")
        waiting = pool.submit(deed.ask)
        waits = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'alert_events'::regclass"
        assert within(10, lambda: api.do(waits) == [(True,)])
        api.process.kill()
        blocker.commit()
        assert waiting.result() is None
    _kill(api)

    assert not deed.is_done()
    _asked_again(deed)


@pytest.mark.parametrize("what", _KINDS)
def test_what_is_there_when_a_process_dies_is_there_whole_and_is_not_done_again(api: Api, what: str) -> None:
    """With the first sight of it, which may be before the answer."""
    deed = _deed(api, what)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(deed.ask)
        seen = "SELECT count(*) > 0 FROM alert_events WHERE alert_id = %s"
        while api.do(seen, deed.alert) != [(True,)] and not waiting.done():
            pass
        _kill(api)
        assert waiting.result() in (None, 200, 201)

    assert deed.is_done()
    _asked_again(deed)
