"""Prices by regional load: tiers with hysteresis, overrides that come and go, and a history that nobody alters."""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.conftest import cloned
from tests.sql.people import ADA, BOB, FAR, OPS, ROOT, People

BASE = Decimal("0.40")
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
QUARTER, MINUTE = timedelta(minutes=15), timedelta(minutes=1)
THRESHOLDS = [25, 50, 75, 90]
_SETTLED = timedelta(minutes=2)


class Prices:
    """Two regions; the north has a price. `now` is what the database is told that the time is."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.domain = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        self.domain.execute("SET timezone = 'UTC'")
        self.now = NOON
        self.set()

    def rows(self, query: LiteralString, *parameters: object) -> list[dict[str, Any]]:
        return self.domain.execute(query, parameters).fetchall()

    def one(self, query: LiteralString, *parameters: object) -> Any:
        [row] = self.rows(query, *parameters)
        [value] = row.values()
        return value

    def do(self, statement: LiteralString, *parameters: object) -> None:
        self.domain.execute(statement, parameters)

    def refusal(self, statement: LiteralString, *parameters: object) -> str | None:
        """SQLSTATE of what the database says; None where it does it."""
        try:
            self.do(statement, *parameters)
        except psycopg.Error as refused:
            return refused.sqlstate
        return None

    def set(self, base: object = BASE, **rules: Any) -> None:
        self.do(
            "SELECT region_price_set('north', 'EUR', %s, %s, %s, %s, %s, %s)",
            *(base, rules.get("thresholds"), rules.get("factors"), rules.get("hysteresis"), rules.get("coverage")),
            self.now,
        )

    def see(
        self, *loads: float | None, first: datetime | None = None, coverage: float = 100, at: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Loads of quarter-hours one after another, told two minutes after the last one has ended, or `at`."""
        first = first or self.one("SELECT seen_until FROM region_price_state WHERE region = 'north'")
        self.now = max(self.now, at or first + len(loads) * QUARTER + _SETTLED)
        told = [
            {"region": "north", "bucket": (first + n * QUARTER).isoformat(), "load_percent": load, "coverage": coverage}
            for n, load in enumerate(loads)
        ]
        return self.decide(told)

    def decide(self, told: Sequence[dict[str, Any]], looked_at: datetime | None = None) -> list[dict[str, Any]]:
        return self.rows(
            "SELECT * FROM region_prices_decide('{north}', %s, %s, %s)",
            *(json.dumps(told), looked_at or self.now, self.now),
        )

    def override(self, since: datetime | None, until: datetime, *, factor: object = None, price: object = None) -> int:
        found: int = self.one(
            "SELECT price_override_add('north', %s, %s, %s, %s, 'Storm', %s)", factor, price, since, until, self.now
        )
        return found

    def end(self, override_id: int) -> None:
        self.do("SELECT price_override_end('north', %s, 'It is over', %s)", override_id, self.now)

    def at(self, at: datetime) -> dict[str, Any]:
        """The one price that is in force."""
        [found] = self.spans(at, at + timedelta(microseconds=1))
        return found

    def spans(self, since: datetime, until: object = "infinity") -> list[dict[str, Any]]:
        return self.rows(
            "SELECT starts_at, nullif(ends_at, 'infinity') AS ends_at, price, factor, tier, load_percent, reason"
            " FROM region_price_spans('north', %s, %s) ORDER BY starts_at",
            *(since, until),
        )

    def history(self) -> list[dict[str, Any]]:
        return self.rows("SELECT to_jsonb(p) FROM region_prices AS p WHERE region = 'north' ORDER BY region_price_id")

    def price(self, at: datetime) -> Decimal:
        found: Decimal = self.at(at)["price"]
        return found

    @property
    def tier(self) -> int | None:
        found: int | None = self.one(
            "SELECT tier FROM region_prices WHERE region = 'north' AND upper(valid) = 'infinity'"
        )
        return found

    def told(self) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM outbox WHERE template = 'price_changed' ORDER BY outbox_id")


@pytest.fixture
def prices(people_db: str) -> Iterator[Prices]:
    found = Prices(people_db)
    with found.domain:
        yield found


@pytest.fixture(scope="module")
def shared(pg_server: Any, pg_owner: psycopg.Connection, people_template: str) -> Iterator[Prices]:
    """One for all examples: each is rolled back."""
    with cloned(pg_server, pg_owner, template=people_template) as dsn:
        found = Prices(dsn)
        with found.domain:
            yield found


@pytest.mark.parametrize(
    ("load", "factor"),
    [
        *((0, "0.80"), (24.99, "0.80"), (25, "0.90"), (49.9, "0.90"), (50, "1.00"), (74.9, "1.00"), (75, "1.10")),
        *((89.999999, "1.10"), (90, "1.25"), (250, "1.25"), (-40, "0.80")),
    ],
)
def test_a_load_has_the_factor_of_the_threshold_that_it_has_reached(prices: Prices, load: float, factor: str) -> None:
    """Exactly 90 % is in the tier above; what is fed in is below all of them."""
    prices.see(load)

    found = prices.at(prices.now + QUARTER)
    assert (found["factor"], found["price"]) == (Decimal(factor), BASE * Decimal(factor))


def test_binary_fractions_do_not_keep_a_load_below_its_threshold(prices: Prices) -> None:
    prices.see(100 * 0.9 * 3 / 3.0000000000000004)

    assert prices.tier == 4


@pytest.mark.parametrize(("load", "tier"), [(85, 4), (84.9, 3), (70, 3), (69.9, 2), (20, 1), (19.9, 0)])
def test_a_tier_is_left_below_its_threshold_less_the_hysteresis(prices: Prices, load: float, tier: int) -> None:
    prices.see(95, load)

    assert prices.tier == tier


def test_thresholds_factors_and_hysteresis_are_settings_of_all_regions_or_of_one(prices: Prices) -> None:
    prices.do("UPDATE price_settings SET hysteresis_points = 20, factors = '{0.5,0.9,1,1.1,2}'")
    prices.see(95, 71)
    assert (prices.tier, prices.price(prices.now + QUARTER)) == (4, BASE * 2)

    prices.set(thresholds=[80], factors=["0.75", "3"], hysteresis=2)
    assert prices.tier == 0
    prices.see(80)
    assert prices.price(prices.now + 2 * QUARTER) == BASE * 3


@pytest.mark.parametrize(
    "rules",
    [
        {"thresholds": [50, 25], "factors": [1, 2, 3]},
        {"thresholds": [25, 25], "factors": [1, 2, 3]},
        {"thresholds": [25], "factors": [1]},
        {"thresholds": [25], "factors": [1, 2, 3]},
        {"factors": [1, 2]},
        {"hysteresis": 25},
        {"thresholds": [], "factors": [1]},
        {"thresholds": [25], "factors": [1, -1]},
        {"thresholds": [25, None], "factors": [1, 2, 3]},
    ],
)
def test_rules_that_do_not_fit_together_are_refused(prices: Prices, rules: dict[str, Any]) -> None:
    with pytest.raises(psycopg.Error) as refused:
        prices.set(**rules)

    assert refused.value.sqlstate in ("23514", "SG094")
    assert prices.rows("SELECT factors FROM region_price_rules") == [{"factors": None}]


def test_a_price_begins_at_factor_1_and_holds_until_a_load_is_known(prices: Prices) -> None:
    assert prices.see(None, at=NOON + 6 * QUARTER) == []

    assert (prices.price(NOON), prices.price(prices.now), prices.tier) == (BASE, BASE, None)


@pytest.mark.parametrize("nothing", [{"load": None}, {"load": 10, "coverage": 89.9}, {"absent": True}])
def test_no_data_is_not_load_0(prices: Prices, nothing: dict[str, Any]) -> None:
    """C10: no capacity, no meter heard, only some of them, or no row at all: the price stays as it is."""
    prices.see(95)
    before = prices.history()

    loads = [] if nothing.get("absent") else [nothing["load"]] * 8
    assert prices.see(*loads, coverage=nothing.get("coverage", 100), at=prices.now + 8 * QUARTER) == []

    assert prices.history() == before


def test_what_is_not_a_number_is_neither_a_load_nor_a_price(prices: Prices) -> None:
    until = NOON + timedelta(hours=9)
    with pytest.raises(psycopg.Error) as base:
        prices.set(base="NaN")
    with pytest.raises(psycopg.Error) as override:
        prices.override(None, until, price="NaN")
    changed = prices.decide(
        [{"region": "north", "bucket": NOON.isoformat(), "load_percent": "NaN", "coverage": 100}],
        NOON + QUARTER + _SETTLED,
    )

    assert (base.value.sqlstate, override.value.sqlstate) == ("SG094", "SG094")
    assert changed == []


def test_a_quarter_hour_that_is_not_known_yet_is_waited_for_and_then_passed_over(prices: Prices) -> None:
    prices.see(95)
    seen: LiteralString = "SELECT seen_until FROM region_price_state"
    assert prices.see(None) == []
    assert prices.one(seen) == NOON + QUARTER

    # It came late, but in time.
    assert prices.see(86, at=prices.now + 8 * MINUTE) == []
    assert (prices.one(seen), prices.tier) == (NOON + 2 * QUARTER, 4)

    assert [row["tier"] for row in prices.see(None, 10)] == [0]
    assert prices.one(seen) == NOON + 4 * QUARTER


def test_what_comes_later_of_a_quarter_hour_that_was_looked_at_leaves_history_as_it_is(prices: Prices) -> None:
    prices.see(30, 30)
    before = prices.history()

    assert prices.see(95, 95, first=NOON, at=prices.now + MINUTE) == []

    assert prices.history() == before


def test_a_price_takes_force_with_the_quarter_hour_after_it_was_decided_on(prices: Prices) -> None:
    [opened] = prices.see(95)

    assert prices.now == NOON + timedelta(minutes=17)
    assert opened["starts_at"] == NOON + timedelta(minutes=30)
    assert prices.price(NOON + timedelta(minutes=29, seconds=59)) == BASE
    assert prices.at(NOON + timedelta(minutes=30))["load_percent"] == 95


def test_who_slept_for_hours_invents_no_history(prices: Prices) -> None:
    """Loads rose and fell meanwhile: no price of that time changes, and the tier is that of whoever stayed awake."""
    loads = [95.0, 91.0, 88.0, 60.0, 40.0, 76.0, 72.0] * 4
    woken = NOON + len(loads) * QUARTER + timedelta(minutes=3)

    [opened] = prices.see(*loads, at=woken)

    assert prices.price(woken) == BASE
    assert opened["starts_at"] == woken + timedelta(minutes=12)
    # 76 % is tier 3, and 72 % does not leave it.
    assert (opened["tier"], len(prices.history())) == (3, 2)


def test_what_is_older_than_two_days_changes_no_price_any_more(prices: Prices) -> None:
    woken = NOON + timedelta(days=3)

    assert prices.see(95, at=woken) == []

    assert prices.one("SELECT seen_until FROM region_price_state") > woken - 2 * QUARTER - timedelta(minutes=15)


def test_a_worker_that_stood_still_between_reading_and_telling_passes_over_nothing(prices: Prices) -> None:
    """What ended after it had read is not judged by its absence."""
    prices.see(30)
    looked_at = prices.now
    prices.now += 10 * QUARTER
    prices.decide([], looked_at=looked_at)

    assert [row["tier"] for row in prices.see(95, first=looked_at - _SETTLED)] == [4]


def test_a_clock_that_is_behind_decides_for_no_time_that_was_told_of(prices: Prices) -> None:
    prices.see(95, at=NOON + timedelta(hours=3))
    prices.now = NOON + timedelta(minutes=1)

    override = prices.override(None, NOON + timedelta(hours=9), price=9)

    begin = prices.one("SELECT lower(in_force) FROM price_overrides WHERE price_override_id = %s", override)
    assert begin >= NOON + timedelta(hours=3)


@pytest.mark.parametrize("what", ["override", "set"])
def test_who_waited_past_a_quarter_hour_sets_no_price_for_what_has_begun(prices: Prices, what: str) -> None:
    prices.now = NOON + QUARTER - timedelta(seconds=0.3)
    order: LiteralString = (
        "SELECT price_override_add('north', NULL, 9, NULL, '2026-03-10 21:00Z', 'Storm', %s)"
        if what == "override"
        else "SELECT region_price_set('north', 'EUR', 9, NULL, NULL, NULL, NULL, %s)"
    )
    with psycopg.connect(prices.dsn) as first, ThreadPoolExecutor(1) as other:
        # Who sets rules holds both rows: those of the rules and of the price.
        first.execute("SELECT region_price_set('north', 'EUR', 0.4, NULL, NULL, NULL, NULL, %s)", [prices.now])
        waiting = other.submit(prices.do, order, prices.now)
        time.sleep(1)
        assert not waiting.done()
        first.commit()
        waiting.result()

    assert prices.price(NOON + QUARTER) == BASE
    assert prices.price(NOON + 2 * QUARTER) == 9


def test_another_base_price_holds_from_the_next_quarter_hour_on_by_the_same_load(prices: Prices) -> None:
    prices.see(80)
    prices.now += timedelta(hours=1)
    prices.set(Decimal("1.00"))
    prices.set(Decimal("2.00"))

    # Of two changes within a quarter-hour each has one.
    begin = NOON + timedelta(hours=1, minutes=30)
    found = [prices.price(begin + n * QUARTER) for n in (-1, 0, 1)]
    assert found == [BASE * Decimal("1.1"), Decimal("1.1"), Decimal("2.2")]


def test_an_override_wins_until_its_end_and_the_load_goes_on_beneath_it(prices: Prices) -> None:
    """D9: a manual tariff is overridden by the next automatic step."""
    prices.see(80)
    begin, until = NOON + timedelta(hours=1), NOON + timedelta(hours=3)
    prices.override(begin, until, factor=2)
    prices.see(*[95.0] * 5)

    assert prices.now < until
    assert prices.price(begin - MINUTE) == BASE * Decimal("1.1")
    assert prices.price(begin) == prices.price(until - MINUTE) == BASE * 2
    assert prices.price(until) == BASE * Decimal("1.25")
    assert prices.at(begin)["reason"] == "override"


def test_an_override_that_is_ended_was_in_force_until_then(prices: Prices) -> None:
    """D9: removing it deletes history that bills need."""
    override = prices.override(None, NOON + timedelta(hours=8), price=Decimal("-0.10"))
    prices.now = NOON + timedelta(hours=2, minutes=1)
    prices.end(override)

    assert prices.price(NOON) == prices.price(NOON + timedelta(hours=2, minutes=14)) == Decimal("-0.10")
    assert prices.price(NOON + timedelta(hours=2, minutes=15)) == BASE
    assert len(prices.rows("SELECT * FROM price_overrides")) == 1
    with pytest.raises(psycopg.Error) as refused:
        prices.end(override)
    assert refused.value.sqlstate == "SG097"
    # And its time is free again.
    prices.override(None, NOON + timedelta(hours=4), factor=3)


def test_an_override_that_is_ended_before_it_begins_was_never_in_force(prices: Prices) -> None:
    override = prices.override(NOON + timedelta(hours=1), NOON + timedelta(hours=2), factor=2)
    prices.end(override)

    assert prices.price(NOON + timedelta(hours=1)) == BASE
    assert prices.rows("SELECT isempty(in_force) AS empty, upper(valid) AS until FROM price_overrides") == [
        {"empty": True, "until": NOON + timedelta(hours=2)}
    ]


@pytest.mark.parametrize(
    ("minutes", "said", "sqlstate"),
    [
        ((-15, 60), {"factor": 2}, "SG094"),
        ((7, 60), {"factor": 2}, "SG094"),
        ((15, 61), {"factor": 2}, "SG094"),
        ((60, 60), {"factor": 2}, "SG094"),
        ((15, 60), {"factor": 2, "price": 1}, "SG094"),
        ((15, 60), {}, "SG094"),
        ((15, 60), {"factor": -1}, "23514"),
        ((180, 240), {"factor": 2}, "SG095"),
        ((0, 195), {"factor": 2}, "SG095"),
    ],
)
def test_an_override_begins_with_a_quarter_hour_to_come_and_none_overlaps_another(
    prices: Prices, minutes: tuple[int, int], said: dict[str, Any], sqlstate: str
) -> None:
    prices.override(NOON + timedelta(hours=3), NOON + timedelta(hours=5), price=1)

    with pytest.raises(psycopg.Error) as refused:
        prices.override(NOON + timedelta(minutes=minutes[0]), NOON + timedelta(minutes=minutes[1]), **said)

    assert refused.value.sqlstate == sqlstate


def test_a_region_without_a_price_or_none_at_all_is_told_apart(prices: Prices) -> None:
    add: LiteralString = "SELECT price_override_add(%s, 2, NULL, NULL, %s, 'x', %s)"

    assert prices.refusal(add, "south", NOON + QUARTER, NOON) == "SG093"
    assert prices.refusal(add, "nowhere", NOON + QUARTER, NOON) == "SG024"
    assert prices.refusal("SELECT price_override_end('north', 99, 'x', %s)", NOON) == "SG096"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM region_prices",
        "TRUNCATE region_prices CASCADE",
        "UPDATE region_prices SET factor = 5",
        "UPDATE region_prices SET load_percent = 5",
        "UPDATE region_prices SET valid = tstzrange(lower(valid), '2026-03-10 15:00Z') WHERE upper(valid) = 'infinity'",
        "UPDATE region_prices SET valid = tstzrange(lower(valid), '2026-03-11Z') WHERE upper(valid) < 'infinity'",
        "UPDATE region_prices SET valid = tstzrange(lower(valid) + INTERVAL '15 minutes', upper(valid))",
        "DELETE FROM price_overrides",
        "TRUNCATE price_overrides",
        "UPDATE price_overrides SET price = 7",
        "UPDATE price_overrides SET reason = 'x'",
        "UPDATE price_overrides SET valid = tstzrange(lower(valid), '2026-03-20Z')",
        "UPDATE price_overrides SET ended_at = created_at, ended_by = 'x', end_reason = 'x'",
    ],
)
def test_nobody_alters_what_was_in_force(prices: Prices, statement: LiteralString) -> None:
    """D9: neither the owner of the database, nor who says that the session only replays what another server did."""
    prices.override(None, NOON + timedelta(days=1), price=1)
    prices.see(95, at=NOON + timedelta(hours=2))
    prices.see(95, at=NOON + timedelta(hours=4))

    assert prices.refusal(statement) == "SG035"
    prices.do("SET session_replication_role = replica")
    assert prices.refusal(statement) == "SG035"


def test_prices_and_overrides_are_audited(prices: Prices) -> None:
    """D13."""
    prices.do("SET segs.actor = 'user:3'")
    prices.end(prices.override(None, NOON + QUARTER, price=1))

    [made] = prices.rows("SELECT made_by, ended_by FROM price_overrides")
    assert made == {"made_by": "user:3", "ended_by": "user:3"}
    logged = prices.rows("SELECT actor, action FROM audit_logs WHERE table_name = 'price_overrides' ORDER BY audit_id")
    assert logged == [{"actor": "user:3", "action": action} for action in ("INSERT", "UPDATE")]
    assert prices.one("SELECT count(*) FROM audit_logs WHERE table_name = 'region_prices'") == 1


def _dynamic(prices: Prices, *meters: int) -> None:
    prices.do(
        "INSERT INTO tariffs (code, name, currency, timezone, document, valid) VALUES ('load', 'By load', 'EUR', 'UTC',"
        " %s, '[2026-01-01, infinity)')",
        Jsonb({"regional_price": True}),
    )
    prices.do("UPDATE meter_tariffs SET code = 'load' WHERE meter_id = ANY (%s)", list(meters))


def test_a_change_is_told_once_to_each_customer_of_the_region_who_is_priced_by_it(prices: Prices) -> None:
    """Ada has meter 1, Bob has meter 2 in the north and 3 in the south; with a second one in the north still one."""
    _dynamic(prices, 1, 2, 3)
    prices.do("INSERT INTO meters (model, serial) VALUES ('sdm630', 'D')")
    prices.do("INSERT INTO meter_locations (meter_id, region, timezone) VALUES (4, 'north', 'UTC')")
    prices.do("INSERT INTO meter_owners (meter_id, user_id, valid) VALUES (4, 2, '[-infinity, infinity)')")
    prices.do("INSERT INTO meter_tariffs (meter_id, code, valid) VALUES (4, 'load', '[2026-01-01, infinity)')")

    prices.see(95)

    told = prices.told()
    assert [(row["user_id"], row["channel"]) for row in told] == [(ADA, "email"), (BOB, "email")]
    assert told[0]["payload"] == {
        "region": "north",
        "currency": "EUR",
        "price_per_kwh": "0.5",
        "from": "2026-03-10T12:30:00+00:00",
        "until": None,
        "reason": "load",
        "said": None,
    }
    # What changes no price is no news, and neither is what was told.
    prices.see(96, 97, 91)
    assert len(prices.told()) == 2


def test_who_has_another_tariff_or_wants_no_messages_is_told_nothing(prices: Prices) -> None:
    """D15: preferences are stored and never consulted."""
    _dynamic(prices, 2)
    # Nothing brings messages to the web page: that somebody wants them there is no way for them to go.
    prices.do("UPDATE user_preferences SET notify_web = true, notify_push = false, notify_email = false")

    prices.see(95)
    assert prices.told() == []

    prices.do("UPDATE user_preferences SET notify_sms = true WHERE user_id = 2")
    prices.see(10)
    assert [(row["user_id"], row["channel"]) for row in prices.told()] == [(BOB, "sms")]


def test_an_override_and_its_early_end_are_told_with_when_and_why(prices: Prices) -> None:
    _dynamic(prices, 1)
    override = prices.override(NOON + QUARTER, NOON + 9 * QUARTER, factor=3)
    prices.see(95, 95)
    prices.end(override)

    first, *others = [row["payload"] for row in prices.told()]
    assert (first["price_per_kwh"], first["reason"], first["said"]) == ("1.2", "override", "Storm")
    assert (first["from"], first["until"]) == ("2026-03-10T12:15:00+00:00", "2026-03-10T14:15:00+00:00")
    # Beneath it the price in force is the same as before: nothing to tell until it ends.
    assert [(row["price_per_kwh"], row["from"]) for row in others] == [("0.5", "2026-03-10T12:45:00+00:00")]


def test_what_a_kwh_costs_after_an_override_is_told_when_that_ends_by_itself(prices: Prices) -> None:
    """Once, with the price that the load made beneath it; not where another one follows at once."""
    _dynamic(prices, 1)
    prices.override(NOON + QUARTER, NOON + 5 * QUARTER, price=3)
    prices.override(NOON + 5 * QUARTER, NOON + 7 * QUARTER, price=4)
    prices.see(95, 95, 95, 95, 95)
    assert [row["payload"]["price_per_kwh"] for row in prices.told()] == ["3", "4"]

    prices.see(95, 95, 95)
    prices.see(95, 95)

    *_, last = [row["payload"] for row in prices.told()]
    assert len(prices.told()) == 3
    assert (last["price_per_kwh"], last["from"], last["until"]) == ("0.5", "2026-03-10T13:45:00+00:00", None)


def test_who_looks_after_a_region_sets_its_price_and_nobody_else(prices: Prices) -> None:
    """D6: a user edits the region that sets the price."""
    people = People(prices.dsn)
    add: LiteralString = (
        "SELECT caller_overrides_price('north', 2, NULL, date_bin('15 minutes', now(), '2000-01-01Z') + %s *"
        " INTERVAL '1 hour', date_bin('15 minutes', now(), '2000-01-01Z') + %s * INTERVAL '1 hour', 'Storm', now())"
    )
    with people.owner:
        for caller in (ADA, FAR, None):
            with pytest.raises(psycopg.Error) as refused:
                people.ask(caller, add, 1, 2)
            assert refused.value.sqlstate == "SG024"
        made = [people.one(OPS, add, 1, 2), people.one(ROOT, add, 2, 3)]

        assert people.keys(ADA, "price_overrides") == people.keys(FAR, "price_overrides") == set()
        assert people.keys(OPS, "price_overrides") == set(made)
        assert people.keys(ADA, "region_prices") == people.keys(FAR, "region_prices") == {1}
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            people.ask(OPS, "UPDATE price_overrides SET price = 1")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            people.ask(ADA, "SELECT load_percent FROM region_prices")


def test_the_worker_decides_and_sets_no_price_by_itself(prices: Prices) -> None:
    """By the rights of its role: what it is told, it cannot make up."""
    prices.do("SET ROLE segs_worker")
    prices.see(95)

    assert prices.rows("SELECT region FROM region_prices_due(%s)", prices.now + QUARTER) == [{"region": "north"}]
    assert prices.tier == 4
    for statement in (
        "SELECT price_override_add('north', 2, NULL, NULL, now(), 'x', now())",
        "SELECT region_price_set('north', 'EUR', 9, NULL, NULL, NULL, NULL, now())",
        "SELECT region_price_open('north', 1, 1, now(), 'base', now())",
        "INSERT INTO region_prices (region) VALUES ('north')",
        "UPDATE region_price_state SET seen_until = now()",
    ):
        assert prices.refusal(statement) == "42501", statement


_EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
_LOADS = st.lists(st.one_of(st.none(), st.decimals(-10, 130, places=1)), min_size=1, max_size=30)


@_EXAMPLES
@given(st.sampled_from(THRESHOLDS), st.lists(st.decimals(0, 5, places=2), min_size=1, max_size=30))
def test_a_load_that_moves_within_the_band_moves_no_price(shared: Prices, threshold: int, below: list[Decimal]) -> None:
    with shared.domain.transaction(force_rollback=True):
        shared.now = NOON
        shared.see(float(threshold))
        tier = shared.tier

        assert shared.see(*(float(threshold - points) for points in below)) == []
        assert shared.tier == tier


@_EXAMPLES
@given(_LOADS, st.lists(st.integers(1, 30), max_size=5))
def test_the_tier_is_the_same_whenever_workers_woke(
    shared: Prices, loads: list[Decimal | None], woken: list[int]
) -> None:
    def tier(ends: list[int]) -> int | None:
        with shared.domain.transaction(force_rollback=True):
            shared.now = NOON
            told = [
                {
                    "region": "north",
                    "bucket": (NOON + n * QUARTER).isoformat(),
                    "load_percent": None if load is None else float(load),
                    "coverage": 100,
                }
                for n, load in enumerate(loads)
            ]
            for end in [*sorted(end for end in ends if end < len(loads)), len(loads) + 2]:
                shared.now = NOON + end * QUARTER + _SETTLED
                shared.decide(told[:end])
            return shared.tier

    assert tier(woken) == tier([]) == tier(list(range(1, len(loads))))


@_EXAMPLES
@given(st.data())
def test_from_the_first_price_on_there_is_one_at_any_time_and_none_of_the_past_changes(
    shared: Prices, data: st.DataObject
) -> None:
    """Whatever is decided, overridden and ended: the course of prices until now is what it was."""
    with shared.domain.transaction(force_rollback=True):
        shared.now, known = NOON, []
        for _ in range(data.draw(st.integers(1, 12))):
            shared.now += data.draw(st.integers(1, 90)) * MINUTE
            deed = data.draw(st.sampled_from(["see", "override", "end", "base"]))
            assert _done(shared, deed, data) in (None, "SG095", "SG096", "SG097")
            last = shared.now
            times = [NOON + n * QUARTER for n in range((last - NOON) // QUARTER + 1)]
            course = [shared.price(at) for at in times]
            assert course[: len(known)] == known
            known = course
        spans = shared.spans(NOON - timedelta(days=1))
    assert spans[0]["starts_at"] == NOON
    assert [one["ends_at"] for one in spans[:-1]] == [one["starts_at"] for one in spans[1:]]


def _done(prices: Prices, deed: str, data: st.DataObject) -> str | None:
    """SQLSTATE where it is refused."""
    try:
        with prices.domain.transaction():
            _do(prices, deed, data)
    except psycopg.Error as refused:
        return refused.sqlstate
    return None


def _do(prices: Prices, deed: str, data: st.DataObject) -> None:
    if deed == "see":
        prices.see(float(data.draw(st.integers(0, 120))), at=prices.now)
    elif deed == "override":
        begin = data.draw(st.integers(1, 8))
        at = prices.one("SELECT quarter_ceiling(%s)", prices.now)
        prices.override(at + begin * QUARTER, at + (begin + data.draw(st.integers(1, 8))) * QUARTER, factor=2)
    elif deed == "end":
        prices.end(data.draw(st.integers(1, 12)))
    else:
        prices.set(data.draw(st.integers(1, 5)))
