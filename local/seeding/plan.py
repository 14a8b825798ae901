"""What a seeded data folder has: regions, people, and meters with whose they are. All of it is made up."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import cycle, islice
from typing import Literal
from zoneinfo import ZoneInfo

from local.fleet import ZONES
from local.seeding.curve import QUARTER, Curve, Kind, curve

INTERVAL_MS = 900_000
_KINDS = (
    Kind.HOUSEHOLD,
    Kind.SOLAR,
    Kind.HOUSEHOLD,
    Kind.SHOP,
    Kind.HOUSEHOLD,
    Kind.HOUSEHOLD,
    Kind.HOUSEHOLD,
    Kind.SHOP,
)
_MODELS = {Kind.HOUSEHOLD: "eastron-sdm630", Kind.SOLAR: "abb-b23", Kind.SHOP: "schneider-iem3155"}
_SIZES = (1.0, 1.3, 0.7, 1.1, 1.6, 0.5, 0.9, 0.8)
_FREE = 2
_MOVED_IN_AFTER = 15 * 96
"""Quarter-hours: in the middle of the month that is billed, where the history begins with that."""
_EXCHANGE_AFTER = timedelta(minutes=7)
_NEW_METERS_FIRST_WH = 3


@dataclass(frozen=True, slots=True)
class Region:
    """A region of the grid; `capacity_w` is what its supply carries."""

    region: str
    name: str
    timezone: str
    capacity_w: float


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may log in; of an operator `region` is what they are confined to."""

    email: str
    name: str
    role: Literal["USER", "OPERATOR", "ADMIN"]
    region: str | None


@dataclass(frozen=True, slots=True)
class Exchange:
    """Another meter from `at` on; `after` is the number of the last read of the old one."""

    at: datetime
    after: int
    final_wh: int
    first_wh: int


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter, what it shows, and whose it is since when: None stands for the beginning of time."""

    device: str
    region: Region
    kind: Kind
    model: str
    owners: tuple[tuple[datetime | None, Person], ...]
    shows: Curve
    exchange: Exchange | None = None

    @property
    def registers(self) -> dict[str, list[int]]:
        """What its registers show at each read, those of the new meter from the exchange on."""
        shown = self.shows.import_wh.copy()
        if self.exchange is not None:
            shown[self.exchange.after + 1 :] += self.exchange.first_wh - self.exchange.final_wh
        registers = {"energy_import_wh": shown.tolist()}
        if self.shows.export_wh is not None:
            registers["energy_export_wh"] = self.shows.export_wh.tolist()
        return registers

    @property
    def moved_wh(self) -> tuple[int, int]:
        """What went through its import and its export register between the first read and the last."""
        export = self.shows.export_wh
        shown = self.shows.import_wh
        return int(shown[-1] - shown[0]), 0 if export is None else int(export[-1] - export[0])


REGIONS = (
    Region("north", "North", ZONES["north"], 150_000),
    Region("south", "South", ZONES["south"], 120_000),
    Region("islands", "Islands", "Atlantic/Azores", 30_000),
)
PEOPLE = (
    Person("admin@example.org", "Demo Admin", "ADMIN", None),
    Person("operator@example.org", "Demo Operator", "OPERATOR", "south"),
    *(
        Person(f"user{number}@example.org", f"Demo User {number}", "USER", region.region)
        for number, region in enumerate(islice(cycle(REGIONS), 6), start=1)
    ),
)


METERS_OF_REGION = len(_KINDS)


def meters(*, begin: datetime, quarters: int, seed: int, of_region: int = METERS_OF_REGION) -> list[Meter]:
    """Meters of every region, with what each shows from `begin` on: the same for the same arguments.

    One is exchanged after a third of the time, one gets a new tenant in the middle of it, or of its first month; the
    last few are nobody's.
    """
    return list(_meters(begin, quarters, seed, of_region))


def _meters(begin: datetime, quarters: int, seed: int, of_region: int) -> Iterator[Meter]:
    users = {r.region: [one for one in PEOPLE if (one.role, one.region) == ("USER", r.region)] for r in REGIONS}
    count = of_region * len(REGIONS)
    for number, region in enumerate(islice(cycle(REGIONS), count)):
        nth = number // len(REGIONS)
        kind = _KINDS[nth]
        shows = curve(kind, size=_SIZES[nth], begin=begin, quarters=quarters, zone=region.timezone, seed=(seed, number))
        first, second = users[region.region]
        owners: tuple[tuple[datetime | None, Person], ...] = ((None, first if nth % 2 == 0 else second),)
        if number == 0:
            moved_in = begin + min(quarters // 2, _MOVED_IN_AFTER) * QUARTER
            owners = ((None, first), (_midnight(moved_in, region.timezone), second))
        elif number >= count - _FREE:
            owners = ()
        yield Meter(
            device=f"{region.region}-{nth + 1}",
            region=region,
            kind=kind,
            model=_MODELS[kind],
            owners=owners,
            shows=shows,
            exchange=_exchange(shows, begin, quarters // 3) if number == 2 * len(REGIONS) else None,
        )


def _exchange(shows: Curve, begin: datetime, after: int) -> Exchange:
    """Some minutes after a read, with what both displays showed then."""
    before, later = shows.import_wh[after : after + 2].tolist()
    return Exchange(
        at=begin + after * QUARTER + _EXCHANGE_AFTER,
        after=after,
        final_wh=before + (later - before) * _EXCHANGE_AFTER // QUARTER,
        first_wh=_NEW_METERS_FIRST_WH,
    )


def _midnight(at: datetime, zone: str) -> datetime:
    """The local midnight before `at`: people move in with a day."""
    return at.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0)
