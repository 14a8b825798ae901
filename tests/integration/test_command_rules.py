"""One rule for all commands of `segs-cloud`: how times are given, where what is said goes, how a command ends."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from psycopg.conninfo import make_conninfo

from cloud.cli import app
from tests.integration.conftest import SegsCloud

METER = "MTR-00000001"
SPAN = ("--from", "2026-03-01T00:00Z", "--to", "2026-03-02T00:00Z")
SHOWING = [
    ("gateway", "list"),
    ("gateway", "show", "attic"),
    ("completeness", *SPAN),
    ("vee", "findings"),
    ("vee", "show", METER, *SPAN),
    ("vee", "show", METER, *SPAN, "--history"),
    ("schema", "status"),
    ("schema", "check"),
    ("meter", "list"),
    ("meter", "show", METER),
    ("tariff", "list"),
    ("tariff", "override", "list", "--region", "north"),
    ("billing", "list"),
    ("billing", "overdue"),
    ("billing", "settings"),
    ("audit", "list"),
    ("audit", "verify"),
    ("alerts", "list"),
    ("alerts", "rules", "list"),
    ("alerts", "maintenance", "list"),
]
NOWHERE = "postgresql://x@127.0.0.1:1/x"


def _commands(group: Any, trail: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(group, "commands"):
        for name, command in group.commands.items():
            yield from _commands(command, (*trail, name))
    else:
        yield trail, group


COMMANDS = dict(_commands(typer.main.get_command(app)))
TIMES = [
    (trail, option.opts[0])
    for trail, command in COMMANDS.items()
    for option in command.params
    if option.opts[0] in ("--from", "--to", "--at") and option.metavar != "DAY"
]


@pytest.fixture
def run(segs_cloud: SegsCloud) -> SegsCloud:
    assert segs_cloud("gateway", "add", "attic").returncode == 0
    device = ("--region", "north", "--model", "x", "--interval-ms", "1000")
    assert segs_cloud("gateway", "device", "add", "attic", "main", *device).returncode == 0
    return segs_cloud


def _asked(trail: tuple[str, ...], option: str, value: str) -> list[str]:
    """A call of the command in which all is right but, perhaps, one option."""
    given = {"--from": "2026-03-01T00:00Z", "--to": "2026-03-02T00:00Z", "--at": "2026-03-01T00:15Z"}
    given |= {"--reason": "why", "--import-wh": "5", "--region": "north", "--serial": "S-2"} | {option: value}
    words = [METER for one in COMMANDS[trail].params if one.param_type_name == "argument"]
    known = {name for one in COMMANDS[trail].params for name in one.opts}
    return [*trail, *words, *(word for name, text in given.items() if name in known for word in (name, text))]


@pytest.mark.parametrize(("trail", "option"), TIMES, ids=lambda value: " ".join(value) if value[0] != "-" else value)
@pytest.mark.parametrize(
    ("text", "found"),
    [("2026-03-01T10:00", "has no offset"), ("2026-03-01", "has no offset"), ("today", "is no time")],
)
def test_a_time_without_an_offset_is_refused_by_every_command(
    segs_cloud: SegsCloud, trail: tuple[str, ...], option: str, text: str, found: str
) -> None:
    """D5: whoever sits in another zone than the database would change another quarter-hour than the one he means."""
    refused = segs_cloud(*_asked(trail, option, text))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"'{option}': '{text}' {found}; write 2026-11-27T10:00Z" in refused.stderr


def test_no_command_takes_times_of_another_kind() -> None:
    assert len(TIMES) >= 9
    assert {COMMANDS[trail].name for trail, _ in TIMES} >= {
        "completeness",
        "show",
        "edit",
        "revoke",
        "estimate",
        "move",
    }


@pytest.mark.parametrize(
    "trail", sorted({trail for trail, option in TIMES if option == "--to"}), ids=lambda trail: " ".join(trail)
)
def test_a_span_that_ends_before_it_begins_is_refused_by_every_command(run: SegsCloud, trail: tuple[str, ...]) -> None:
    for end in ("2026-03-01T00:00Z", "2026-02-28T12:00+01:00"):
        refused = run(*_asked(trail, "--to", end))
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "--from 2026-03-01T00:00:00Z is not before --to 2026-02-28T11:00:00Z" in refused.stderr or (
            "--from 2026-03-01T00:00:00Z is not before --to 2026-03-01T00:00:00Z" in refused.stderr
        )


@pytest.mark.parametrize("command", SHOWING, ids=" ".join)
def test_what_is_shown_is_one_json_document_with_times_in_utc(run: SegsCloud, command: tuple[str, ...]) -> None:
    shown = run(*command, "--json")
    assert shown.returncode == 0 or command[0] == "schema", shown.stderr
    document = json.loads(shown.stdout)
    for text in _texts(document):
        if re.match(r"\d{4}-\d\d-\d\dT", text):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def test_every_command_that_shows_something_speaks_json() -> None:
    """What a command changes it tells on standard error; all others are for machines as well."""
    changing = {"add", "key-add", "key-revoke", "import", "remove", "edit", "revoke", "estimate", "move", "exchange"}
    changing |= {"exchange-revoke", "registers", "serve", "api", "worker", "reference", "openapi"}
    changing |= {
        "create",
        "rotate",
        "suspend",
        "resume",
        "role",
        "give",
        "require-second-factor",
        "forget-second-factor",
    }
    changing |= {"set", "capacity", "assign", "holiday", "prices", "end", "generation"}
    changing |= {"finalise", "credit", "dispute", "resolve", "address", "record", "reverse", "refund", "simulate"}
    changing |= {"retry", "test", "acknowledge", "close", "connection"}
    # What it writes is JSON, and nothing else.
    changing |= {"openapi"}
    silent = [
        trail
        for trail, command in COMMANDS.items()
        if trail[-1] not in changing and "--json" not in {name for option in command.params for name in option.opts}
    ]
    assert silent == []


@pytest.mark.parametrize(
    "command", [*SHOWING, ("gateway", "add", "x"), ("meter", "registers", METER, "--resets")], ids=" ".join
)
def test_a_database_that_is_not_there_is_named_and_is_no_answer(
    segs_cloud: SegsCloud, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Exit status 1 is an answer: refused, or something is missing. Nobody has looked here."""
    for name in ("SEGS_DOMAIN_DSN", "SEGS_TELEMETRY_DSN"):
        monkeypatch.setenv(name, NOWHERE)
    failed = segs_cloud(*command)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert re.match(r"segs-cloud: no connection to the ((domain|telemetry) )?database: ", failed.stderr)
    assert len(failed.stderr.splitlines()) <= 3


def test_a_database_without_a_schema_is_told_in_words(
    segs_cloud: SegsCloud, empty_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SEGS_DOMAIN_DSN", "SEGS_TELEMETRY_DSN"):
        monkeypatch.setenv(name, empty_db)
    for command in (("gateway", "list"), ("vee", "findings"), ("gateway", "add", "attic"), ("completeness",)):
        failed = segs_cloud(*command)
        assert failed.returncode == 1
        assert "segs-cloud schema apply" in failed.stderr
        assert "Traceback" not in failed.stderr


def test_what_was_recorded_before_the_telemetry_database_went_away_is_told(
    segs_cloud: SegsCloud, telemetry_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads that it failed does it again."""
    assert segs_cloud("gateway", "add", "attic").returncode == 0
    monkeypatch.setenv("SEGS_TELEMETRY_DSN", NOWHERE)
    done = segs_cloud(
        "gateway", "device", "add", "attic", "main", "--region", "n", "--model", "x", "--interval-ms", "9"
    )
    assert (done.returncode, done.stdout) == (1, f"{METER}\n")
    assert "it is recorded" in done.stderr
    assert "within seconds of its return" in done.stderr


def test_a_wrong_command_line_is_told_in_lines_that_no_frame_breaks(segs_cloud: SegsCloud) -> None:
    refused = segs_cloud("vee", "edit", METER, "--at", "2026-03-01T00:15Z", "--reason", "x", "--import-wh", "-5")
    assert refused.returncode == 2
    said = "Error: Invalid value for '--import-wh': '-5' is no number of Wh; give a whole one, 0 to 10000000000000"
    assert refused.stderr.splitlines()[-1] == said


def test_who_may_not_is_told_which_role_he_has(
    segs_cloud: SegsCloud, telemetry_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGS_TELEMETRY_DSN", make_conninfo(telemetry_db, options="-c role=segs_ingest"))
    refused = segs_cloud("vee", "findings")
    assert refused.returncode == 1
    assert refused.stderr.startswith("segs-cloud: permission denied for table vee_findings; ")
    assert "Processes, ports, roles" in refused.stderr


@pytest.mark.parametrize(
    ("role", "command"),
    [
        ("segs_worker", ("vee", "edit", METER, "--at", "2026-03-01T00:15Z", "--import-wh", "5", "--reason", "x")),
        ("segs_worker", ("vee", "show", METER, *SPAN, "--history")),
        ("segs_readonly", ("vee", "show", METER, *SPAN)),
        ("segs_readonly", ("vee", "findings")),
        ("segs_readonly", ("completeness", *SPAN)),
        ("segs_readonly", ("meter", "list")),
        ("segs_readonly", ("meter", "show", METER)),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_the_roles_that_the_page_names_suffice(
    run: SegsCloud,
    domain_db: str,
    telemetry_db: str,
    monkeypatch: pytest.MonkeyPatch,
    role: str,
    command: tuple[str, ...],
) -> None:
    for name, dsn in (("SEGS_DOMAIN_DSN", domain_db), ("SEGS_TELEMETRY_DSN", telemetry_db)):
        monkeypatch.setenv(name, make_conninfo(dsn, options=f"-c role={role}"))
    done = run(*command)
    assert done.returncode == 0, done.stderr
