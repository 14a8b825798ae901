"""Gateways, keys and devices, and what the telemetry database is told of them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from cloud.db.errors import ConflictError, DomainError, InvalidError, NotFoundError, domain_error

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PLACES = "SELECT region, timezone, lower(valid)::text, upper(valid)::text FROM meter_locations ORDER BY valid"
REGISTER = "SELECT * FROM device_register(%s, %s, %s, NULL, %s, %s, 1000, %s, %s, %s)"


class Domain:
    """Calls the domain's functions as the API does for an admin; a refusal is a DomainError."""

    def __init__(self, connection: psycopg.Connection, owner: psycopg.Connection) -> None:
        self.connection, self.owner = connection, owner

    def ask(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        # What the telemetry database is told is none of the API's business.
        connection = self.owner if " registry_" in statement else self.connection
        try:
            with connection.transaction():
                if connection is self.connection:
                    connection.execute("SELECT audit_access('devices', NULL, NULL)")
                return connection.execute(statement, parameters).fetchall()
        except psycopg.Error as error:
            meaning = domain_error(error)
            if meaning is None:
                raise
            raise meaning from error

    def register(
        self,
        device: str,
        *,
        gateway: str = "attic",
        region: str = "north",
        serial: str | None = None,
        at: datetime = NOW,
        code: str | None = None,
    ) -> tuple[object, ...]:
        model = None if serial is None else "sdm630"
        return self.ask(REGISTER, gateway, device, region, model, serial, 20_000.0, at, code)[0]

    def spans(self) -> list[tuple[object, ...]]:
        return self.ask(
            "SELECT device, meter_code, lower(valid)::text, upper(valid)::text"
            " FROM registry_devices ORDER BY device, valid"
        )


@pytest.fixture
def domain(domain_db: str) -> Iterator[Domain]:
    with (
        psycopg.connect(domain_db, autocommit=True) as owner,
        psycopg.connect(domain_db, autocommit=True) as connection,
    ):
        for each in (owner, connection):
            each.execute("SET timezone = 'UTC'")
        owner.execute("INSERT INTO users (email, name, role) VALUES ('root@example.org', 'Root', 'ADMIN')")
        connection.execute("SET ROLE segs_api")
        connection.execute("SET segs.user_id = '1'")
        one = Domain(connection, owner)
        one.ask("SELECT region_set('north', 'North', 'Europe/Berlin', 5e6, %s)", NOW)
        one.ask("SELECT gateway_add('attic', sha256('one'), %s)", NOW)
        yield one


def test_a_registered_device_is_a_new_meter_from_the_beginning_of_time(domain: Domain) -> None:
    """What the quarantine holds of the device belongs to the meter too."""
    assert domain.register("m1", serial="77") == (1, "MTR-00000001")

    assert domain.spans() == [("m1", "MTR-00000001", "-infinity", "infinity")]
    assert domain.ask("SELECT region, timezone, max_power_w, interval_ms FROM registry_devices") == [
        ("north", "Europe/Berlin", 20_000.0, 1000)
    ]


def test_a_device_goes_on_as_another_meter_where_the_first_ended(domain: Domain) -> None:
    domain.register("m1")
    assert domain.ask("SELECT device_unregister('attic', 'm1', %s)", NOW + HOUR) == [("MTR-00000001",)]
    domain.register("m1", at=NOW + 2 * HOUR)

    assert domain.spans() == [
        ("m1", "MTR-00000001", "-infinity", "2026-03-01 13:00:00+00"),
        ("m1", "MTR-00000002", "2026-03-01 13:00:00+00", "infinity"),
    ]


def test_a_meter_goes_on_behind_another_device(domain: Domain) -> None:
    domain.register("m1")
    domain.ask("SELECT device_unregister('attic', 'm1', %s)", NOW + HOUR)

    assert domain.register("m2", at=NOW + 2 * HOUR, code="MTR-00000001") == (1, "MTR-00000001")
    assert domain.spans()[1] == ("m2", "MTR-00000001", "2026-03-01 13:00:00+00", "infinity")


@pytest.mark.parametrize(
    ("call", "sqlstate", "kind"),
    [
        (lambda domain: domain.register("m1"), "SG020", ConflictError),
        (lambda domain: domain.register("m2", serial="77"), "SG025", ConflictError),
        (lambda domain: domain.register("m2", code="MTR-00000001"), "SG023", ConflictError),
        (lambda domain: domain.register("m2", code="MTR-00000009"), "SG022", NotFoundError),
        (lambda domain: domain.register("m2", region="south"), "SG024", NotFoundError),
        (lambda domain: domain.register("m2", gateway="cellar"), "SG010", NotFoundError),
        (lambda domain: domain.ask("SELECT device_unregister('attic', 'm2', %s)", NOW), "SG021", NotFoundError),
        (lambda domain: domain.ask("SELECT gateway_add('attic', sha256('two'), %s)", NOW), "SG011", ConflictError),
        (lambda domain: domain.ask("SELECT gateway_add('cellar', sha256('one'), %s)", NOW), "SG012", ConflictError),
        (lambda domain: domain.ask("SELECT gateway_key_add('cellar', sha256('two'), %s)", NOW), "SG010", NotFoundError),
        (
            lambda domain: domain.ask("SELECT gateway_key_revoke('attic', sha256('two'), %s)", NOW),
            "SG013",
            NotFoundError,
        ),
    ],
)
def test_a_refusal_has_its_own_sqlstate_and_leaves_nothing_behind(
    domain: Domain, call, sqlstate: str, kind: type[DomainError]
) -> None:
    """D12: nobody is given a meter that is somebody else's; D16: a refusal is not a fault."""
    domain.register("m1", serial="77")

    with pytest.raises(kind) as refused:
        call(domain)

    assert refused.value.sqlstate == sqlstate
    assert domain.ask("SELECT count(*) FROM meters") == [(1,)]
    assert domain.ask("SELECT count(*) FROM gateways") == [(1,)]


def test_a_key_is_rotated_without_a_gap(domain: Domain) -> None:
    hashes = (
        "SELECT key_hashes = ARRAY[sha256('one')], key_hashes = ARRAY[sha256('one'), sha256('two')],"
        " key_hashes = ARRAY[sha256('two')] FROM registry_gateways"
    )
    seen = [domain.ask(hashes)]
    domain.ask("SELECT gateway_key_add('attic', sha256('two'), %s)", NOW)
    seen.append(domain.ask(hashes))
    domain.ask("SELECT gateway_key_revoke('attic', sha256('one'), %s)", NOW + HOUR)
    seen.append(domain.ask(hashes))

    assert seen == [[(True, False, False)], [(False, True, False)], [(False, False, True)]]


def test_a_revoked_or_disabled_gateway_has_no_keys(domain: Domain) -> None:
    """C2: nothing is accepted from it, while what it delivered keeps its name."""
    domain.ask("SELECT gateway_key_revoke('attic', sha256('one'), %s)", NOW)
    domain.ask("SELECT gateway_add('cellar', sha256('two'), %s)", NOW)
    domain.connection.execute("UPDATE gateways SET disabled_at = %s WHERE name = 'cellar'", [NOW])

    assert domain.ask("SELECT name, cardinality(key_hashes) FROM registry_gateways ORDER BY name") == [
        ("attic", 0),
        ("cellar", 0),
    ]


def test_a_revoked_key_stays_revoked_and_cannot_be_given_again(domain: Domain) -> None:
    domain.ask("SELECT gateway_key_revoke('attic', sha256('one'), %s)", NOW)

    with pytest.raises(ConflictError):
        domain.ask("SELECT gateway_key_add('attic', sha256('one'), %s)", NOW + HOUR)


@pytest.mark.parametrize(
    ("table", "view"),
    [
        ("gateway_registry", "registry_gateways"),
        ("region_registry", "registry_regions"),
        ("capacity_registry", "registry_capacities"),
        ("device_registry", "registry_devices"),
    ],
)
def test_the_registry_views_have_the_columns_of_the_registry_tables(
    domain: Domain, telemetry_db: str, table: str, view: str
) -> None:
    columns = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = '' ORDER BY attnum"
    )
    with psycopg.connect(telemetry_db) as telemetry:
        copy = telemetry.execute(columns, [table]).fetchall()

    assert domain.ask(columns, view) == copy


def test_a_move_leaves_what_was_before_where_it_was(domain: Domain) -> None:
    domain.ask("SELECT region_set('south', 'South', 'Asia/Kathmandu', NULL, %s)", NOW)
    domain.register("m1")
    domain.ask("SELECT meter_move('MTR-00000001', 'south', NULL, %s, %s)", NOW + HOUR, NOW)

    assert domain.ask(PLACES) == [
        ("north", "Europe/Berlin", "-infinity", "2026-03-01 13:00:00+00"),
        ("south", "Asia/Kathmandu", "2026-03-01 13:00:00+00", "infinity"),
    ]


def test_a_move_of_the_past_keeps_the_moves_after_it(domain: Domain) -> None:
    for region in ("south", "west"):
        domain.ask("SELECT region_set(%s, 'x', 'UTC', NULL, %s)", region, NOW)
    domain.register("m1")
    domain.ask("SELECT meter_move('MTR-00000001', 'south', NULL, %s, %s)", NOW + HOUR, NOW)
    domain.ask("SELECT meter_move('MTR-00000001', 'west', 'Europe/Paris', %s, %s)", NOW - HOUR, NOW)
    domain.ask("SELECT meter_move('MTR-00000001', 'west', NULL, %s, %s)", NOW + HOUR, NOW)

    assert domain.ask(PLACES) == [
        ("north", "Europe/Berlin", "-infinity", "2026-03-01 11:00:00+00"),
        ("west", "Europe/Paris", "2026-03-01 11:00:00+00", "2026-03-01 13:00:00+00"),
        ("west", "UTC", "2026-03-01 13:00:00+00", "infinity"),
    ]
    assert domain.ask("SELECT region, timezone, meter_code FROM meters_now") == [("west", "UTC", "MTR-00000001")]


def test_a_registration_is_split_by_the_places_of_its_meter(domain: Domain) -> None:
    domain.ask("SELECT region_set('south', 'South', 'UTC', NULL, %s)", NOW)
    domain.register("m1")
    domain.ask("SELECT device_unregister('attic', 'm1', %s)", NOW + HOUR)
    domain.register("m2", at=NOW + HOUR, code="MTR-00000001")
    domain.ask("SELECT meter_move('MTR-00000001', 'south', NULL, %s, %s)", NOW + 2 * HOUR, NOW)

    found = domain.ask(
        "SELECT device, region, lower(valid)::text, upper(valid)::text FROM registry_devices ORDER BY valid"
    )
    assert found == [
        ("m1", "north", "-infinity", "2026-03-01 13:00:00+00"),
        ("m2", "north", "2026-03-01 13:00:00+00", "2026-03-01 14:00:00+00"),
        ("m2", "south", "2026-03-01 14:00:00+00", "infinity"),
    ]


@pytest.mark.parametrize(
    ("code", "region", "sqlstate"), [("MTR-00000009", "north", "SG022"), ("MTR-00000001", "east", "SG024")]
)
def test_a_move_needs_a_meter_and_a_region(domain: Domain, code: str, region: str, sqlstate: str) -> None:
    domain.register("m1")
    with pytest.raises(NotFoundError) as refused:
        domain.ask("SELECT meter_move(%s, %s, NULL, %s, %s)", code, region, NOW, NOW)
    assert refused.value.sqlstate == sqlstate


def test_the_capacity_of_a_region_is_kept_by_time(domain: Domain) -> None:
    domain.ask("SELECT region_set('north', 'North', 'Europe/Berlin', 6e6, %s)", NOW)
    domain.ask("SELECT region_set('north', 'Northern', 'Europe/Berlin', 6e6, %s)", NOW)

    kept = "SELECT capacity_w, lower(valid)::text, upper(valid)::text FROM registry_capacities ORDER BY valid"
    [before, after] = domain.ask(kept)
    assert (before[:2], after[::2]) == ((5e6, "-infinity"), (6e6, "infinity"))
    assert before[2] == after[1]


EXCHANGE = "SELECT old_serial, new_serial FROM meter_exchange('MTR-00000001', %s, NULL, %s, NULL, NULL, NULL, NULL, %s)"
REVOKE = "SELECT new_serial FROM meter_exchange_revoke('MTR-00000001', %s, %s, %s)"
SERIAL = "SELECT serial FROM meters WHERE meter_id = 1"


def test_exchanges_are_revoked_from_the_last_one_back(domain: Domain) -> None:
    domain.register("m1", serial="A")
    for hours, serial in ((1, "B"), (2, "C")):
        domain.ask(EXCHANGE, NOW + hours * HOUR, serial, NOW + 3 * HOUR)
    with pytest.raises(ConflictError, match="was exchanged again at 2026-03-01 14:00") as refused:
        domain.ask(REVOKE, NOW + HOUR, "why", NOW + 3 * HOUR)
    assert refused.value.sqlstate == "SG029"
    assert domain.ask(REVOKE, NOW + 2 * HOUR, "why", NOW + 3 * HOUR) == [("C",)]
    assert domain.ask(SERIAL) == [("B",)]
    assert domain.ask(REVOKE, NOW + HOUR, "why", NOW + 3 * HOUR) == [("B",)]
    assert domain.ask(SERIAL) == [("A",)]
    assert domain.ask("SELECT count(*) FROM registry_epochs") == [(0,)]
    for at in (NOW + HOUR, NOW):
        with pytest.raises(NotFoundError) as nothing:
            domain.ask(REVOKE, at, "why", NOW + 3 * HOUR)
        assert nothing.value.sqlstate == "SG028"


def test_a_revoked_exchange_can_be_told_again_at_its_instant_and_both_are_kept(domain: Domain) -> None:
    domain.register("m1", serial="A")
    for serial in ("B", "C"):
        domain.ask(EXCHANGE, NOW, serial, NOW)
        if serial == "B":
            domain.ask(REVOKE, NOW, "misread", NOW + HOUR)
    kept = "SELECT new_serial, revoked_at, revoked_reason FROM meter_exchanges ORDER BY 1"
    assert domain.ask(kept) == [("B", NOW + HOUR, "misread"), ("C", None, None)]
    assert domain.ask("SELECT count(*) FROM registry_epochs") == [(4,)]
    told = domain.ask("SELECT action, new ->> 'revoked_reason' FROM audit_logs WHERE table_name = 'meter_exchanges'")
    assert told == [("INSERT", None), ("UPDATE", "misread"), ("INSERT", None)]


def test_a_meter_does_not_take_back_a_serial_that_is_another_meter_s_now(domain: Domain) -> None:
    domain.register("m1", serial="A")
    domain.ask(EXCHANGE, NOW, "B", NOW)
    domain.register("m2", serial="A")
    with pytest.raises(ConflictError, match="serial A, which the meter had before, is that of another meter now"):
        domain.ask(REVOKE, NOW, "why", NOW)
    assert domain.ask(SERIAL) == [("B",)]


def test_a_revocation_without_a_reason_is_refused(domain: Domain) -> None:
    domain.register("m1", serial="A")
    domain.ask(EXCHANGE, NOW, "B", NOW)
    for reason in ("", None):
        with pytest.raises(InvalidError):
            domain.ask(REVOKE, NOW, reason, NOW)
    assert domain.ask(SERIAL) == [("B",)]


def test_an_exchange_for_the_meter_that_is_there_is_none(domain: Domain) -> None:
    """Told twice, it would break the registers a second time."""
    domain.register("m1", serial="A")
    domain.ask(EXCHANGE, NOW, "B", NOW + HOUR)
    with pytest.raises(ConflictError, match="serial B is that of the meter that is there") as refused:
        domain.ask(EXCHANGE, NOW + HOUR, "B", NOW + HOUR)
    assert refused.value.sqlstate == "SG025"
