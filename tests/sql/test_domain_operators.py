"""Devices as operators register them: in their regions, behind gateways that they look after, and nowhere else."""

from collections.abc import Iterator

import psycopg
import pytest

from cloud.db.errors import domain_error
from tests.sql.people import ADA, FAR, GONE, HOUR, NOW, OPS, ROOT, People

REGISTER = "SELECT meter_id, meter_code FROM device_register(%s, %s, %s, NULL, 'sdm630', %s, 1000, NULL, %s, %s)"


@pytest.fixture
def people(people_db: str) -> Iterator[People]:
    found = People(people_db)
    with found.owner:
        yield found


def _register(
    people: People,
    caller: int | None,
    device: str = "new",
    *,
    gateway: str = "attic",
    region: str | None = "north",
    serial: str | None = None,
    code: str | None = None,
) -> str:
    """The code of the meter, or the SQLSTATE by which it is refused."""
    try:
        [row] = people.ask(caller, REGISTER, gateway, device, region, serial, NOW, code)
    except psycopg.Error as error:
        meaning = domain_error(error)
        return "" if meaning is None else meaning.sqlstate
    return str(row["meter_code"])


def test_an_operator_registers_a_device_as_a_new_meter_of_their_region(people: People) -> None:
    code = _register(people, OPS)

    assert code == "MTR-00000004"
    assert people.keys(OPS, "meters") == {1, 2, 4}
    assert 4 not in people.keys(FAR, "meters") | people.keys(ADA, "meters")
    of = (
        "SELECT lower(valid)::text, region FROM devices JOIN meter_locations USING (meter_id, valid) WHERE meter_id > 3"
    )
    assert [tuple(row.values()) for row in people.ask(OPS, of)] == [("-infinity", "north")]


def test_a_region_of_somebody_else_gets_no_meter_and_none_is_left_behind(people: People) -> None:
    refused = {name: _register(people, caller) for name, caller in (("far", FAR), ("ada", ADA), ("nobody", None))}
    elsewhere = _register(people, OPS, region="south")

    assert refused == {"far": "SG010", "ada": "SG010", "nobody": "SG010"}
    assert elsewhere in ("42501", "SG070")
    assert people.keys(ROOT, "meters") == {1, 2, 3}
    assert people.keys(ROOT, "devices") == {1, 2}


@pytest.mark.parametrize("gateway", ["cellar", "shed", "nowhere"])
def test_a_gateway_that_an_operator_does_not_look_after_is_not_there(people: People, gateway: str) -> None:
    assert _register(people, OPS, gateway=gateway) == "SG010"


def test_the_table_itself_takes_no_device_of_a_gateway_that_the_operator_does_not_see(people: People) -> None:
    people.owner.execute("SELECT device_unregister('attic', 'm1', %s)", [NOW - HOUR])
    make = (
        "INSERT INTO devices (gateway_id, device, meter_id, interval_ms, valid)"
        " VALUES (%s, 'x', 1, 1000, tstzrange(%s, 'infinity')) RETURNING meter_id"
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        people.ask(OPS, make, 2, NOW)
    assert people.ask(OPS, make, 1, NOW) == [{"meter_id": 1}]


def test_who_is_suspended_registers_nothing(people: People) -> None:
    """D11."""
    assert _register(people, GONE) == "SG010"
    people.owner.execute("UPDATE users SET suspended_at = now() WHERE user_id = %s", [OPS])
    assert _register(people, OPS) == "SG010"


def test_a_meter_of_another_region_is_not_given_a_device_by_its_code(people: People) -> None:
    assert _register(people, OPS, code="MTR-00000003") == "SG022"
    assert _register(people, FAR, gateway="cellar", code="MTR-00000003", region=None) == "MTR-00000003"


def test_a_serial_that_is_known_elsewhere_is_refused_and_not_told_whose(people: People) -> None:
    assert _register(people, OPS, serial="A") == "SG025"
    with pytest.raises(psycopg.Error) as refused:
        people.ask(OPS, REGISTER, "attic", "new", "north", "C", NOW, None)
    assert refused.value.sqlstate == "SG025"
    assert "MTR-00000003" not in str(refused.value)


def test_a_device_goes_on_where_a_meter_that_the_operator_no_longer_sees_ended(people: People) -> None:
    """It moved away; its readings stay its own."""
    people.owner.execute("SELECT device_unregister('attic', 'm1', %s)", [NOW - HOUR])
    people.owner.execute("SELECT meter_move('MTR-00000001', 'south', NULL, %s, %s)", [NOW - HOUR, NOW])

    assert _register(people, OPS, "m1") == "MTR-00000004"
    spans = people.owner.execute("SELECT lower(valid) AS lo FROM devices WHERE meter_id = 4").fetchall()
    assert [row["lo"] for row in spans] == [NOW - HOUR]


def test_a_device_that_is_a_meter_elsewhere_now_is_taken(people: People) -> None:
    people.owner.execute("SELECT meter_move('MTR-00000001', 'south', NULL, %s, %s)", [NOW - HOUR, NOW])
    assert _register(people, OPS, "m1") == "SG020"


def test_an_admin_registers_everywhere_and_the_command_line_too(people: People) -> None:
    assert [_register(people, ROOT, gateway="shed", region=region) for region in ("south",)] == ["MTR-00000004"]
    row = people.owner.execute(REGISTER, ["shed", "other", "north", None, NOW, None]).fetchone()
    assert row == {"meter_id": 5, "meter_code": "MTR-00000005"}
