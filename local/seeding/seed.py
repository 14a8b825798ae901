"""`segs seed`: once for a data folder, and from where it was when it was interrupted."""

import asyncio
import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg

from cloud.db.queries import Queries
from cloud.gateways.key import Key
from cloud.registry_copy import copy_registry
from local.databases import Databases
from local.fleet import Fleet
from local.seeding import registration
from local.seeding.bill import bill_one
from local.seeding.curve import QUARTER
from local.seeding.errors import SeedingError
from local.seeding.folder import GATEWAY, Note, SeedFolder, new_passwords
from local.seeding.history import SETTLED, live
from local.seeding.plan import METERS_OF_REGION, PEOPLE, REGIONS, Meter, meters
from local.seeding.proof import Books, prove

_QUERIES = Queries("seeding")


def seed(
    *,
    home: Path,
    databases: Databases,
    days: int,
    say: Callable[[str], None],
    of_region: int = METERS_OF_REGION,
) -> Books | None:
    """Regions, people, meters and the last `days` of history; None where all of that is there already.

    The databases run. Raises SeedingError, and psycopg's errors.
    """
    folder, now = SeedFolder(home), datetime.now(UTC)
    note = folder.note
    known = _known(databases)
    if known and (note is None or note.proven):
        if note is None:
            say(f"the history is there already; people's passwords were in {folder.people}, which is gone")
        return None
    _expect_no_worker(databases)
    if known:
        assert note is not None
        their_meters = _meters_of(note)
    else:
        note = _new(days, of_region, now)
        their_meters = _meters_of(note)
        say(f"people and {len(their_meters)} meters in {len(REGIONS)} regions, and {days} days of history before today")
        _register(databases, folder, note, their_meters, now)
    with psycopg.connect(databases.dsn("domain")) as domain, psycopg.connect(databases.dsn("telemetry")) as telemetry:
        copy_registry(domain, telemetry)
    asyncio.run(
        live(
            note,
            their_meters,
            ingest_dsn=databases.dsn("telemetry", "segs_ingest"),
            worker_dsn=databases.dsn("telemetry", "segs_worker"),
            say=say,
        )
    )
    books = prove(databases.dsn("telemetry"), note, their_meters, now=now)
    if not books.right:
        raise SeedingError(f"the history is not what its meters showed: {books}")
    registration.end(databases.dsn("domain"), now=note.begin + note.quarters * QUARTER + SETTLED)
    with psycopg.connect(databases.dsn("domain")) as domain, psycopg.connect(databases.dsn("telemetry")) as telemetry:
        copy_registry(domain, telemetry)
    bill_one(databases, note, now=now)
    folder.keep(msgspec.structs.replace(note, proven=True))
    say(f"the intervals of {books.meters} meters add up to their registers; {len(PEOPLE)} people: {folder.people}")
    return books


def connect(databases: Databases, gateway: str, live: Fleet) -> None:
    """What their connections are rated for, and which may feed in: the meters of a gateway, for alerts."""
    said = {
        "gateway": gateway,
        "devices": [meter.name for meter in live.meters],
        "rated_power_w": [meter.rated_power_w for meter in live.meters],
        "exports": [meter.feeds_in for meter in live.meters],
    }
    with psycopg.connect(databases.dsn("domain")) as domain:
        domain.execute(_QUERIES["actor"], {"actor": registration.ACTOR})
        domain.execute(_QUERIES["connect"], said)


def hand_out(databases: Databases, gateway: str) -> None:
    """The meters of a gateway are the people's, who so have something live to see; nobody's where nobody was seeded."""
    _give(databases, "hand_out", gateway)


def take_back(databases: Databases, gateway: str) -> None:
    """The meters of a gateway are nobody's from now on; what they measured stays with who had them."""
    _give(databases, "take_back", gateway)


def end(databases: Databases, names: str) -> None:
    """Meters of all gateways with such names, a regular expression, are nobody's from now on, and read by nothing."""
    with psycopg.connect(databases.dsn("domain")) as domain:
        found = domain.execute(_QUERIES["reading"], {"names": names}).fetchall()
    for (gateway,) in found:
        take_back(databases, gateway)
        with psycopg.connect(databases.dsn("domain")) as domain:
            domain.execute(_QUERIES["actor"], {"actor": registration.ACTOR})
            domain.execute(_QUERIES["end"], {"gateway": gateway, "now": datetime.now(UTC)})


def _give(databases: Databases, query: str, gateway: str) -> None:
    people = [one.email for one in PEOPLE if one.role == "USER"]
    with psycopg.connect(databases.dsn("domain")) as domain:
        domain.execute(_QUERIES["actor"], {"actor": registration.ACTOR})
        domain.execute(_QUERIES[query], {"gateway": gateway, "people": people, "now": datetime.now(UTC)})


def _meters_of(note: Note) -> list[Meter]:
    return meters(begin=note.begin, quarters=note.quarters, seed=note.seed, of_region=note.of_region)


def _new(days: int, of_region: int, now: datetime) -> Note:
    begin = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)
    return Note(
        key=Key.generate().text,
        stream=str(uuid.uuid4()),
        begin=begin,
        quarters=(now - SETTLED - begin) // QUARTER,
        seed=secrets.randbits(32),
        of_region=of_region,
    )


def _register(databases: Databases, folder: SeedFolder, note: Note, their_meters: list[Meter], now: datetime) -> None:
    # The files come first: who is registered with a password that nobody knows could not be used by anybody.
    passwords = new_passwords()
    folder.keep_people(passwords)
    folder.keep(note)
    try:
        registration.register(
            databases.dsn("domain"),
            meters=their_meters,
            passwords=passwords,
            key=Key(note.key),
            begin=note.begin,
            now=now,
        )
    except psycopg.Error as error:
        raise SeedingError(f"nothing was seeded: {str(error).strip()}") from error


def _known(databases: Databases) -> bool:
    with psycopg.connect(databases.dsn("domain")) as domain:
        return domain.execute(_QUERIES["known"], {"gateway": GATEWAY}).fetchone() == (True,)


def _expect_no_worker(databases: Databases) -> None:
    with psycopg.connect(databases.dsn("telemetry")) as telemetry:
        if telemetry.execute(_QUERIES["workers"]).fetchone() != (0,):
            raise SeedingError(
                "a worker computes in these databases, by another clock than the history's; stop it, with `segs stop`"
            )
