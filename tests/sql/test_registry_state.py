"""What the registry views show has a name, by which the cloud knows whether it copied that: no change escapes it."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

import psycopg
import pytest

from cloud.db.queries import Queries
from cloud.registry_copy import copy_registry
from cloud.schema.apply import apply

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REGISTER = "SELECT meter_id FROM device_register(%s, %s, 'north', NULL, NULL, NULL, 1000, NULL, %s)"
STATE = Queries("registry")["state"]


class Registry:
    """A domain database with a region and two gateways; whoever waits for a lock gives up soon."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.watcher = self.connect()
        self.watcher.autocommit = True
        self.watcher.execute("INSERT INTO regions (region, name, timezone) VALUES ('north', 'North', 'UTC')")
        for gateway in ("attic", "cellar"):
            self.watcher.execute("SELECT gateway_add(%s, sha256(%s), %s)", [gateway, gateway.encode(), NOW])

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.dsn, options="-c lock_timeout=5s")

    def name(self) -> object:
        row = self.watcher.execute(STATE).fetchone()
        assert row is not None
        return row[0]

    def look(self) -> tuple[object, tuple[object, ...]]:
        """The name of what there is, and what that is: of one moment, as the copy sees them."""
        with self.watcher.transaction():
            self.watcher.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            shown = "SELECT region FROM registry_regions UNION ALL SELECT device FROM registry_devices ORDER BY 1"
            return self.name(), tuple(self.watcher.execute(shown).fetchall())

    def rows(self) -> int:
        row = self.watcher.execute("SELECT count(*) FROM registry_state").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def registry(domain_db: str) -> Iterator[Registry]:
    found = Registry(domain_db)
    with found.watcher:
        yield found


def interleavings(scripts: list[list[str]]) -> Iterator[list[tuple[int, str]]]:
    """Every order in which the steps of several scripts can come, each of them in its own order: number and step."""
    if not any(scripts):
        yield []
    for number, script in enumerate(scripts):
        if script:
            for rest in interleavings([s[1:] if n == number else s for n, s in enumerate(scripts)]):
                yield [(number, script[0]), *rest]


def named_apart(seen: list[tuple[object, tuple[object, ...]]]) -> bool:
    """Whether each name was that of one state."""
    return len(set(seen)) == len({name for name, _ in seen})


STEPS = {
    "change": "INSERT INTO regions (region, name, timezone) VALUES ('r' || %s, 'R', 'UTC')",
    "save": "SAVEPOINT here",
    "back": "ROLLBACK TO here",
    "keep": "RELEASE here",
    "commit": "COMMIT",
    "rollback": "ROLLBACK",
}


@pytest.mark.parametrize(
    "scripts",
    [
        pytest.param(["change commit", "change commit", "change rollback"], id="three"),
        pytest.param(["change commit", "change commit", "change commit"], id="three-that-commit"),
        pytest.param(["change change commit", "change change commit"], id="several-changes"),
        pytest.param(["save change back change commit", "change commit"], id="change-after-savepoint"),
        pytest.param(["change save change back commit", "change commit"], id="change-before-savepoint"),
        pytest.param(["save change back commit", "change commit"], id="nothing-but-what-was-taken-back"),
        pytest.param(["save change keep change commit", "change commit"], id="savepoint-that-is-kept"),
    ],
)
def test_no_two_states_that_differ_have_one_name(registry: Registry, scripts: list[str]) -> None:
    """In whatever order transactions begin, change, take back and end, and whenever one looks."""
    connections = [registry.connect() for _ in scripts]
    for connection in connections:
        connection.autocommit = True
    changes = 0
    for order in interleavings([script.split() for script in scripts]):
        seen = [registry.look()]
        began: set[int] = set()
        for number, step in order:
            if number not in began:
                connections[number].execute("BEGIN")
                began.add(number)
            changes += step == "change"
            connections[number].execute(STEPS[step], [changes] if step == "change" else None)
            seen.append(registry.look())

        assert named_apart(seen), order
        # And what nobody changed need not be copied again.
        for ((before, _), (now, _)), (_, step) in zip(pairwise(seen), order, strict=True):
            assert now == before or step == "commit", order
    for connection in connections:
        connection.close()
    assert registry.rows() <= len(scripts)


@pytest.mark.parametrize("first", [0, 1])
def test_a_copy_between_two_commits_hides_neither(registry: Registry, telemetry_db: str, first: int) -> None:
    def copied() -> tuple[bool, list[object]]:
        with registry.connect() as domain, psycopg.connect(telemetry_db) as telemetry:
            changed = copy_registry(domain, telemetry)
            return changed, [
                row[0] for row in telemetry.execute("SELECT device FROM device_registry ORDER BY device").fetchall()
            ]

    devices = ("m1", "m2")
    with registry.connect() as one, registry.connect() as other:
        pair = (one, other)
        for gateway, device, connection in zip(("attic", "cellar"), devices, pair, strict=True):
            connection.execute(REGISTER, [gateway, device, NOW])
        assert copied() == (True, [])

        pair[first].commit()
        assert copied() == (True, [devices[first]])
        assert copied() == (False, [devices[first]])

        pair[1 - first].commit()
        assert copied() == (True, ["m1", "m2"])
        assert copied() == (False, ["m1", "m2"])


@pytest.mark.parametrize("gateways", [("attic", "cellar"), ("attic", "attic")])
def test_registrations_do_not_wait_for_one_another(registry: Registry, gateways: tuple[str, str]) -> None:
    """Each held the one row of what was then a single token until its transaction ended."""
    with registry.connect() as one, registry.connect() as other:
        one.execute(REGISTER, [gateways[0], "m1", NOW])
        other.execute(REGISTER, [gateways[1], "m2", NOW])
        one.execute(REGISTER, [gateways[0], "m3", NOW])
        other.execute(REGISTER, [gateways[1], "m4", NOW])

        waiting = registry.watcher.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
        assert waiting == (0,)
    assert registry.watcher.execute("SELECT count(*) FROM registry_devices").fetchone() == (4,)


def test_a_transaction_writes_one_row_however_much_it_registers(registry: Registry) -> None:
    """Ten thousand registrations left thirty thousand versions of one row, and each looked through all of them."""
    written = "SELECT n_tup_upd + n_tup_ins FROM pg_stat_xact_user_tables WHERE relname = 'registry_state'"
    with registry.connect() as connection:
        for number in range(100):
            connection.execute(REGISTER, ["attic", f"m{number}", NOW])

        assert connection.execute(written).fetchone() == (1,)


def test_one_after_the_other_takes_the_same_row_again(registry: Registry) -> None:
    for number in range(20):
        registry.watcher.execute(REGISTER, ["attic", f"m{number}", NOW])

    assert registry.rows() == 1


def test_many_at_once_take_hardly_more_rows_than_they_are(registry: Registry) -> None:
    """Who looks while others change places may find every row held, and adds one that was not needed."""

    def work(thread: int) -> None:
        with registry.connect() as connection:
            for number in range(25):
                connection.execute(REGISTER, [("attic", "cellar")[thread % 2], f"m{thread}-{number}", NOW])
                connection.commit()

    threads = [threading.Thread(target=work, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    seen = [registry.look()]
    while any(thread.is_alive() for thread in threads):
        seen.append(registry.look())
    for thread in threads:
        thread.join()
    seen.append(registry.look())

    assert registry.watcher.execute("SELECT count(*) FROM registry_devices").fetchone() == (6 * 25,)
    assert named_apart(seen)
    assert registry.rows() < 2 * 6


def test_a_restored_database_may_have_transactions_of_the_same_numbers(registry: Registry) -> None:
    """What the dump brought with it is not taken for what this transaction has done already."""
    before = registry.name()
    with registry.connect() as connection:
        connection.execute("UPDATE registry_state SET transaction_id = pg_current_xact_id()")
        connection.execute(REGISTER, ["attic", "m1", NOW])

    assert registry.name() != before


def test_a_registry_without_any_change_has_a_name_of_its_own(domain_db: str, empty_db: str) -> None:
    apply(empty_db, "domain")
    names = set()
    for dsn in (domain_db, empty_db):
        with psycopg.connect(dsn) as connection:
            names.add(connection.execute(STATE).fetchone())

    assert len(names) == 2
    assert (None,) not in names
