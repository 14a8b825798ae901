"""What a database refuses is told in sentences: no constraint's text, no function's name, no traceback."""

import re
from pathlib import Path

import psycopg
import pytest

from cloud.db.rules import RULES
from tests.integration.conftest import SegsCloud

METER = "MTR-00000001"
ADD = ("gateway", "device", "add", "attic", "second")
OF = ("--region", "north", "--model", "y", "--interval-ms", "1000")
EDIT = ("vee", "edit", METER, "--at", "2026-03-01T00:15Z", "--import-wh", "5", "--reason")
SPAN = ("--from", "2026-03-01T00:00Z", "--to", "2026-03-02T00:00Z")
MOVE = ("meter", "move", METER, "--from", "2026-03-01T00:00Z", "--region")
EXCHANGE = ("meter", "exchange", METER, "--at", "2026-03-01T00:00Z")


@pytest.fixture
def run(segs_cloud: SegsCloud) -> SegsCloud:
    assert segs_cloud("gateway", "add", "attic").returncode == 0
    for device, serial in (("main", "S-1"), ("other", "S-2")):
        of = ("--region", "north", "--model", "x", "--serial", serial, "--interval-ms", "1000")
        assert segs_cloud("gateway", "device", "add", "attic", device, *of).returncode == 0
    return segs_cloud


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("gateway", "add", "my gateway"), "a gateway's name has letters, digits"),
        (("gateway", "add", ""), "a gateway's name has letters, digits"),
        (("gateway", "add", "attic"), "there is a gateway attic already; segs-cloud gateway key-add"),
        (("gateway", "key-add", "cellar"), "there is no gateway cellar; segs-cloud gateway list names them"),
        (
            ("gateway", "key-revoke", "attic", "99"),
            "gateway attic has no such valid key; segs-cloud gateway show names",
        ),
        (("gateway", "key-revoke", "attic", str(2**70)), "gateway attic has no such valid key"),
        ((*ADD[:-1], "bad name", *OF), "a device's name has letters, digits"),
        ((*ADD[:-1], "main", *OF), f"main of gateway attic is {METER} already; segs-cloud gateway device remove ends"),
        (
            (*ADD, *OF, "--meter-code", METER),
            "is read as device main of gateway attic; segs-cloud gateway device remove",
        ),
        ((*ADD, *OF, "--meter-code", "MTR-9"), "there is no meter MTR-9; segs-cloud meter list names them"),
        ((*ADD, *OF[:-4], "--region", "North Sea", *OF[2:]), "a region's name has lower-case letters"),
        ((*ADD, "--region", "south", *OF[2:], "--timezone", "Mars/Olympus"), "give the name of an IANA zone"),
        ((*ADD, *OF, "--timezone", "CEST"), "give the name of an IANA zone"),
        ((*ADD, *OF, "--serial", ""), "the serial number is empty"),
        ((*ADD, *OF[:2], "--model", "", *OF[4:]), "the model is empty"),
        ((*ADD, *OF[:2], "--model", "x", *OF[4:], "--serial", "S-1"), f"is registered as {METER}"),
        (("gateway", "device", "remove", "attic", "x"), "x of gateway attic is no meter now; segs-cloud meter list"),
        ((*MOVE, "souht"), "there is no region souht; there is north"),
        ((*MOVE, "north", "--timezone", "Mars/Olympus"), "give the name of an IANA zone"),
        ((*EXCHANGE, "--serial", ""), "the serial number is empty"),
        ((*EXCHANGE, "--serial", "S-3", "--model", ""), "the model is empty"),
        ((*EXCHANGE, "--serial", "S-2"), "serial S-2 is that of another meter"),
        (
            ("meter", "exchange-revoke", METER, "--at", "2026-03-01T00:00Z", "--reason", "x"),
            "was not exchanged at 2026-03-01 00:00:00+00; segs-cloud meter show names its exchanges",
        ),
        ((*EDIT, ""), "the reason is empty"),
        ((*EDIT[:4], "2026-03-01T00:07Z", *EDIT[5:], "x"), "; give times at minute 0, 15, 30 or 45"),
        (("vee", "revoke", METER, *SPAN, "--reason", "x"), f"nobody edited meter {METER} from 2026-03-01 00:00:00+00"),
        (
            ("vee", "estimate", METER, *SPAN, "--import-wh", "5", "--reason", "x"),
            f"meter {METER} has no like days in the three weeks before 2026-03-01 00:00:00+00",
        ),
        (("vee", "show", METER, "--from", "0001-01-01T00:00Z", "--to", "0001-01-02T00:00Z"), ""),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "",
)
def test_a_refusal_is_a_sentence_that_says_what_to_do(run: SegsCloud, command: tuple[str, ...], said: str) -> None:
    """D12, D16."""
    refused = run(*command)
    assert refused.returncode == (1 if said else 0)
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    raw = re.search(r"violates|constraint|relation|\w\(\)|_check\b|SQLSTATE|Traceback|CONTEXT|DETAIL", refused.stderr)
    assert raw is None


@pytest.mark.parametrize("power", ["-5", "0", "inf", "nan", "5 kW"])
def test_a_power_that_no_connection_carries_is_refused(run: SegsCloud, power: str) -> None:
    refused = run(*ADD, *OF, "--max-power-w", power)
    assert refused.returncode == 2
    assert f"Invalid value for '--max-power-w': '{power}' is no power that a connection carries" in refused.stderr


def test_a_row_that_the_database_refuses_is_named_by_its_device(run: SegsCloud, tmp_path: Path) -> None:
    file = tmp_path / "devices.csv"
    file.write_text("device,model,interval_ms\nthird,x,1000\nbad name,x,1000\n")
    refused = run("gateway", "device", "import", "attic", str(file), "--region", "north")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"segs-cloud: {file}: device 'bad name': a device's name has letters, digits")
    assert refused.stderr.endswith("; no row was registered\n")


def test_what_is_no_text_is_refused_in_a_line(run: SegsCloud) -> None:
    refused = run("gateway", "add", b"\xff\xfe".decode("utf-8", "surrogateescape"))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "segs-cloud: an argument is no text in UTF-8; write it again, letter by letter\n"


def test_every_rule_in_words_is_one_that_a_schema_has(domain_db: str, telemetry_db: str) -> None:
    names = set()
    for dsn in (domain_db, telemetry_db):
        with psycopg.connect(dsn) as connection:
            query = "SELECT conname FROM pg_constraint UNION SELECT relname FROM pg_class WHERE relkind = 'i'"
            names |= {name for (name,) in connection.execute(query)}
    assert set(RULES) <= names


@pytest.mark.parametrize(
    ("database", "tables"),
    [
        ("domain", ("gateways", "meters", "meter_locations", "meter_exchanges", "devices")),
        ("telemetry", ("interval_versions",)),
    ],
)
def test_every_rule_that_a_value_of_an_operator_can_break_is_told_in_words(
    database: str, tables: tuple[str, ...], domain_db: str, telemetry_db: str
) -> None:
    """What is left are columns that no command sets, and what the functions see to themselves."""
    unset = (
        r"meters_(latitude_deg|longitude_deg|location|site|status|meter_code)\w*|\w+_(fkey|pkey)|\w+_valid_is_half_open"
        r"|interval_versions_(check|end_has|method|quality|reactive)\w*|meter_exchanges_revocation_has_a_reason"
    )
    with psycopg.connect(domain_db if database == "domain" else telemetry_db) as connection:
        query = (
            "SELECT conname FROM pg_constraint WHERE conrelid::regclass::text = ANY(%s)"
            " UNION SELECT indexrelid::regclass::text FROM pg_index"
            " WHERE indisunique AND indrelid::regclass::text = ANY(%s)"
        )
        names = {name for (name,) in connection.execute(query, [list(tables), list(tables)])}
    assert {name for name in names - set(RULES) if not re.fullmatch(unset, name)} == set()
