"""Row-level security: every table that the API reaches, for every role, with what is one's own and what is not."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors

from tests.sql.people import ADA, BOB, DAY, FAR, GONE, HOUR, LOOK, NOW, OPS, ROOT, People

ALL = {1, 2, 3}
WHO = {
    "nobody": None,
    "Ada": ADA,
    "Bob": BOB,
    "the operator": OPS,
    "another operator": FAR,
    "the admin": ROOT,
    "one who is suspended": GONE,
}
NOTHING: set[object] = set()
MONTH = date(2026, 1, 1)
# Rules that come with the release; those after them are of one meter each.
RULES: set[object] = set(range(1, 22))
METRICS: set[object] = {
    "voltage_percent",
    "frequency_hz",
    "phase_lost_s",
    "unbalance_percent",
    "power_factor",
    "load_percent",
    "power_w",
    "reverse_power_w",
    "register_backwards",
    "stuck_power_w",
    "stuck_register_wh",
    "day_energy_wh",
    "idle_h",
    "usage_percent",
    "silent_intervals",
    "clock_off_s",
    "gateway_troubles",
    "region_load_percent",
}
GROUPED: set[object] = {"no_data", "under_frequency", "over_frequency"}
# What nobody, Ada, Bob, the operator of the north, that of the south, the admin and a suspended admin see.
SEEN: dict[str, tuple[set[object], ...]] = {
    "users": (NOTHING, {1}, {2}, {1, 2, 3}, {4}, {1, 2, 3, 4, 5, 6}, NOTHING),
    "audit_personal": (NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, {1, 2, 3, 4, 5, 6}, NOTHING),
    "user_preferences": (NOTHING, {1}, {2}, {3}, {4}, {1, 2, 3, 4, 5, 6}, NOTHING),
    "operator_regions": (NOTHING, {3}, NOTHING, {1}, {2}, ALL, NOTHING),
    "sessions": (NOTHING, {1}, {2}, {3}, {4}, {1, 2, 3, 4, 5, 6}, NOTHING),
    "meters": (NOTHING, {1}, {2, 3}, {1, 2}, {3}, ALL, NOTHING),
    "meters_now": (NOTHING, {1}, {2, 3}, {1, 2}, {3}, ALL, NOTHING),
    "meter_locations": (NOTHING, {1}, {2, 3}, {1, 2}, {3}, ALL, NOTHING),
    "meter_owners": (NOTHING, {1}, {2, 3}, {1, 2}, {3}, ALL, NOTHING),
    "meter_exchanges": (NOTHING, {1}, {2, 3}, {1, 2}, {3}, ALL, NOTHING),
    "meter_claims": (NOTHING, NOTHING, NOTHING, {1, 2}, {3}, ALL, NOTHING),
    "devices": (NOTHING, NOTHING, NOTHING, {1, 2}, NOTHING, {1, 2}, NOTHING),
    "gateways": (NOTHING, NOTHING, NOTHING, {1}, {2}, ALL, NOTHING),
    "gateway_keys": (NOTHING, NOTHING, NOTHING, {1}, {2}, ALL, NOTHING),
    "regions": (NOTHING, *[{"north", "south"}] * 5, NOTHING),
    "region_capacities": (NOTHING, NOTHING, NOTHING, {1}, {2}, {1, 2}, NOTHING),
    "tariffs": (NOTHING, *[{1, 2}] * 5, NOTHING),
    "tariff_rules": (NOTHING, *[{1, 2}] * 5, NOTHING),
    "region_prices": (NOTHING, *[{1}] * 5, NOTHING),
    "price_overrides": (NOTHING, NOTHING, NOTHING, {1}, NOTHING, {1}, NOTHING),
    "tariff_holidays": (NOTHING, *[{1}] * 5, NOTHING),
    "meter_tariffs": (NOTHING, {1}, {2, 3}, {1, 2}, {3}, ALL, NOTHING),
    "invoices": (NOTHING, {1}, {2, 3}, {1, 2}, {3}, ALL, NOTHING),
    "invoice_line_items": (NOTHING, {1}, {2, 3}, {1, 2}, {3}, ALL, NOTHING),
    "invoice_days": (NOTHING, {1}, {2, 3}, {1, 2}, {3}, ALL, NOTHING),
    "invoice_banks": (NOTHING, {1}, {2, 3}, {1, 2}, {3}, ALL, NOTHING),
    "invoice_disputes": (NOTHING, {1}, {2, 3}, {1, 2}, {3}, ALL, NOTHING),
    "payment_transactions": (NOTHING, {1}, {2, 3}, {1, 2}, {3}, ALL, NOTHING),
    "ledger_postings": (NOTHING, {1}, {2, 3}, {1, 2}, {3}, ALL, NOTHING),
    "ledger_entries": (NOTHING, {1, 2}, {3, 4, 5, 6}, {1, 2, 3, 4}, {5, 6}, {1, 2, 3, 4, 5, 6}, NOTHING),
    "credit_balances": (NOTHING, {1}, {2}, NOTHING, NOTHING, {1, 2}, NOTHING),
    "billing_work": (NOTHING, NOTHING, NOTHING, {MONTH}, {MONTH}, {MONTH}, NOTHING),
    # Alert 5 stands for meters of a gateway: whose they are is told of it, and finds it.
    "alerts": (NOTHING, {1, 5}, {2, 3, 5}, {1, 2, 5}, {3, 4}, {1, 2, 3, 4, 5}, NOTHING),
    "alert_events": (NOTHING, {1, 5}, {2, 3, 5}, {1, 2, 5}, {3, 4}, {1, 2, 3, 4, 5}, NOTHING),
    "alert_rules": (
        *(NOTHING, RULES | {22}, RULES | {23, 24}, RULES | {22, 23}, RULES | {24}, RULES | {22, 23, 24}),
        NOTHING,
    ),
    "alert_metrics": (NOTHING, *[METRICS] * 5, NOTHING),
    "alert_groups": (NOTHING, *[GROUPED] * 5, NOTHING),
    "maintenance_windows": (NOTHING, NOTHING, NOTHING, {1}, {2, 4}, {1, 2, 3, 4}, NOTHING),
}
# A change of every row that one sees, and of how many it is one.
CHANGED: dict[str, tuple[str, tuple[int, ...]]] = {
    "users": ("UPDATE users SET phone = '+4930123456'", (0, 1, 1, 1, 1, 6, 0)),
    "user_preferences": ("UPDATE user_preferences SET theme = 'dark'", (0, 1, 1, 1, 1, 1, 0)),
    "meters": ("UPDATE meters SET site = 'barn'", (0, 0, 0, 2, 1, 3, 0)),
    "meter_locations": ("UPDATE meter_locations SET timezone = 'Europe/Berlin'", (0, 0, 0, 2, 1, 3, 0)),
    "meter_exchanges": ("UPDATE meter_exchanges SET despite = 'x'", (0, 0, 0, 2, 1, 3, 0)),
    "devices": ("UPDATE devices SET interval_ms = 2000", (0, 0, 0, 2, 0, 2, 0)),
    "gateways": ("UPDATE gateways SET disabled_at = now()", (0, 0, 0, 1, 1, 3, 0)),
    "gateway_keys": ("UPDATE gateway_keys SET revoked_at = now() + INTERVAL '1 day'", (0, 0, 0, 1, 1, 3, 0)),
    "regions": ("UPDATE regions SET capacity_w = 2e6", (0, 0, 0, 0, 0, 2, 0)),
    "tariffs": ("UPDATE tariffs SET reason = 'x'", (0, 0, 0, 1, 1, 2, 0)),
}


PRICES: LiteralString = """
SELECT region_price_set('north', 'EUR', 0.4, NULL, NULL, NULL, NULL, '2026-01-01Z');
SELECT price_override_add('north', 2, NULL, '2026-01-02Z', '2026-01-03Z', 'Storm', '2026-01-01Z');
"""


@pytest.fixture
def people(people_db: str) -> Iterator[People]:
    found = People(people_db)
    with found.owner:
        found.owner.execute(PRICES)
        yield found


def test_everybody_sees_their_own_rows_and_no_others(people: People) -> None:
    """D12, and D11 for the one who is suspended."""
    found = {table: tuple(people.keys(caller, table) for caller in WHO.values()) for table in SEEN}

    assert found == SEEN


def test_a_customer_does_not_see_that_their_meter_may_have_been_tampered_with(people: People) -> None:
    people.owner.execute("UPDATE alerts SET category = 'tamper' WHERE alert_id <= 3")

    assert [people.keys(caller, "alerts") for caller in (ADA, BOB, OPS)] == [{5}, {5}, {1, 2, 5}]
    people.owner.execute("UPDATE alerts SET category = 'tamper'")
    assert [people.keys(caller, "alerts") for caller in (ADA, BOB)] == [NOTHING, NOTHING]


def test_everybody_changes_their_own_rows_and_no_others(people: People) -> None:
    """D1: nobody settles a bill of their own."""
    found = {}
    for table, (statement, _) in CHANGED.items():
        counts = []
        for caller in WHO.values():
            with people.owner.transaction(force_rollback=True):
                people.owner.execute("SET LOCAL ROLE segs_api")
                people.owner.execute(
                    "SELECT set_config('segs.user_id', %s, true)", ["" if caller is None else str(caller)]
                )
                people.owner.execute(LOOK)
                counts.append(people.owner.execute(statement).rowcount)
        found[table] = (statement, tuple(counts))

    assert found == CHANGED


INSERTED = {
    "INSERT INTO regions (region, name, timezone) VALUES ('west', 'West', 'UTC')": {"the admin"},
    "INSERT INTO meters DEFAULT VALUES": {"the operator", "another operator", "the admin"},
    "INSERT INTO meter_locations (meter_id, region, timezone) VALUES (4, 'south', 'UTC')": {
        "another operator",
        "the admin",
    },
    "INSERT INTO meter_exchanges (meter_id, exchanged_at) VALUES (1, '2026-02-01Z')": {"the operator", "the admin"},
    "INSERT INTO devices (gateway_id, device, meter_id, interval_ms) VALUES (2, 'm3', 3, 1000)": {
        "another operator",
        "the admin",
    },
    "INSERT INTO gateways (name, region) VALUES ('new', 'north')": {"the operator", "the admin"},
    "INSERT INTO gateways (name) VALUES ('new')": {"the admin"},
    "INSERT INTO gateway_keys (gateway_id, key_hash) VALUES (2, sha256('x'))": {"another operator", "the admin"},
    "INSERT INTO tariffs (code, name, region, currency, timezone, document, valid)"
    " VALUES ('x', 'X', 'north', 'EUR', 'UTC', '{}', '[2026-01-01, infinity)')": {"the operator", "the admin"},
    "INSERT INTO tariff_rules (tariff_id, component, period, tier, unit, rate) VALUES (2, 'energy', 1, 0, 'kWh', 1)": {
        "another operator",
        "the admin",
    },
    "INSERT INTO payment_transactions (invoice_id, kind, provider, provider_reference, amount, currency,"
    " status, occurred_at) VALUES (1, 'payment', 'simulated', 'x', 10, 'EUR', 'pending', now())": set(),
    "INSERT INTO invoices (meter_id, user_id, period_start, period_end, timezone, currency, net_amount, tax_amount)"
    " VALUES (1, 1, '2026-02-01', '2026-03-01', 'UTC', 'EUR', 1, 0)": set(),
    "UPDATE invoices SET status = 'paid'": set(),
    "UPDATE payment_transactions SET status = 'succeeded', settled_at = now()": set(),
    "INSERT INTO price_overrides (region, factor, valid, reason, made_by, created_at)"
    " VALUES ('north', 2, '[2027-01-01Z, 2027-01-02Z)', 'x', 'x', now())": set(),
    "SELECT price_override_add('north', 2, NULL, '2027-01-01Z', '2027-01-02Z', 'x', now())": set(),
    "SELECT payment_record(1, 'manual', 'x', 10, 'EUR', 'succeeded', NULL, 5, now(), now())": set(),
    "SELECT bill_credit(1, NULL, 'x', now())": set(),
}


@pytest.mark.parametrize("statement", INSERTED)
def test_a_row_is_made_only_by_who_may(people: People, statement: str) -> None:
    people.owner.execute("INSERT INTO meters DEFAULT VALUES")
    may = set()
    for name, caller in WHO.items():
        try:
            with people.owner.transaction(force_rollback=True):
                people.ask(caller, statement)
                may.add(name)
        except errors.InsufficientPrivilege:
            pass

    assert may == INSERTED[statement]


# Of Ada's meter a draft, with something to her credit, and a bill that nobody disputes.
MORE_BILLS: LiteralString = """
INSERT INTO invoices (meter_id, user_id, period_start, period_end, timezone, span, currency, net_amount, tax_amount)
    SELECT 1, 1, d, (d + INTERVAL '1 month')::date, 'UTC', tstzrange(d, d + INTERVAL '1 month'), 'EUR', 10, 0
      FROM (VALUES ('2026-02-01'::date), ('2026-03-01')) AS m (d);
INSERT INTO invoice_line_items (invoice_id, position, component, description, tariff_id, quantity, unit, unit_price,
        amount) SELECT i, 1, 'fixed', 'Basic charge', 1, 31, 'day', 1, 10 FROM generate_series(4, 5) AS i;
SELECT bill_finalise(5, '2026-04-02Z');
SELECT price_override_add('north', 2, NULL, '2030-01-02Z', '2030-01-03Z', 'Storm', '2026-01-01Z');
SELECT payment_record(5, 'simulated', 'more', 15, 'EUR', 'succeeded', NULL, NULL, '2026-04-03Z', '2026-04-03Z');
"""
DONE = {
    "SELECT caller_gives_meter('MTR-00000001', 2, now(), now())": {"the operator", "the admin"},
    "SELECT caller_gives_meter('MTR-00000001', NULL, now(), now())": {"the operator", "the admin"},
    "SELECT caller_gives_meter('MTR-00000001', 3, now(), now())": {"the admin"},
    "SELECT meter_claim_issue('MTR-00000001', sha256('x'), INTERVAL '1 day', now())": {"the operator", "the admin"},
    "SELECT meter_claim_withdraw('MTR-00000001', now())": {"the operator", "the admin"},
    "SELECT meter_claim_use(sha256('x'), now())": {"Ada", "Bob"},
    "SELECT caller_sets_capacity('north', 5e6, now(), now())": {"the admin"},
    "SELECT caller_overrides_price('north', 2, NULL, '2027-01-01Z', '2027-01-02Z', 'x', now())": {
        "the operator",
        "the admin",
    },
    "SELECT caller_ends_override('north', 2, 'x', '2026-01-02Z')": {"the operator", "the admin"},
    "SELECT meter_add('north', NULL, 'x', 'y', NULL, now())": {"the operator", "the admin"},
    "SELECT meter_move('MTR-00000001', 'north', 'Europe/Berlin', now(), now())": {"the operator", "the admin"},
    "SELECT meter_move('MTR-00000001', 'south', NULL, now(), now())": {"the admin"},
    "SELECT gateway_enable('attic', false, now())": {"the operator", "the admin"},
    "SELECT gateway_add('new', sha256('x'), now(), 'north')": {"the operator", "the admin"},
    "SELECT caller_pays(1, 'simulated', 'x', 5, now())": {"Ada"},
    "SELECT payment_event('simulated', 'e', sha256('x'), 'INV-0000000001', 'z', 1, 'EUR', 'succeeded', now(), now())": {
        "nobody"
    },
    "SELECT caller_records_payment(1, 'x', 10, 'cash', now(), now())": {"the operator", "the admin"},
    "SELECT caller_credits(1, NULL, 'x', now())": {"the operator", "the admin"},
    "SELECT caller_resolves(1, 'rejected', NULL, 'x', now())": {"the operator", "the admin"},
    "SELECT caller_finalises(4, now())": {"the operator", "the admin"},
    "SELECT caller_refunds(5, 'x', 1, 'bank', now())": {"the operator", "the admin"},
    "SELECT caller_disputes(5, 'x', now())": {"Ada"},
    "SELECT billing_cycle('MTR-00000001', now())": {"Ada", "the operator", "the admin"},
    "SELECT billing_cycle_plan('MTR-00000001', now())": {"Ada", "the operator", "the admin"},
    "SELECT billing_cycle_unreactive('MTR-00000001', '[]', now())": {"Ada", "the operator", "the admin"},
    "SELECT what_if_tariffs('MTR-00000001', NULL, now())": {"Ada", "the operator", "the admin"},
    "SELECT what_if_spans('MTR-00000001', '{}', '2026-01-01', '2026-02-01')": {"Ada", "the operator", "the admin"},
    "SELECT what_if_months('MTR-00000001', '[]')": {"Ada", "the operator", "the admin"},
    "SELECT what_if_rate('MTR-00000001', '{}', '[]')": {"Ada", "the operator", "the admin"},
}


@pytest.mark.parametrize("statement", DONE)
def test_a_function_that_does_as_the_owner_does_it_for_whom_it_is(people: People, statement: str) -> None:
    """D1, D6, D12: whatever the API asks of it."""
    people.owner.execute(MORE_BILLS)
    may, refusals = set(), set()
    for name, caller in WHO.items():
        try:
            with people.owner.transaction(force_rollback=True):
                people.ask(caller, statement)
                may.add(name)
        except psycopg.Error as refused:
            refusals.add(refused.sqlstate)

    assert may == DONE[statement]
    assert refusals <= {"SG010", "SG022", "SG024", "SG051", "SG070", "SG100", "SG102", "42501"}


def test_nobody_reads_what_a_claim_is_known_by(people: People) -> None:
    for caller in (ADA, OPS, ROOT):
        with pytest.raises(errors.InsufficientPrivilege):
            people.ask(caller, "SELECT code_hash FROM meter_claims")


def test_every_table_that_the_api_reaches_says_who_sees_its_rows(people: People) -> None:
    tables = {
        row["relname"]: (row["relrowsecurity"], row["reached"])
        for row in people.owner.execute(
            "SELECT relname, relrowsecurity, has_any_column_privilege('segs_api', oid, 'SELECT, INSERT, UPDATE')"
            " AS reached FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
    }
    open_to_all = {"schema_version"}
    assert {name for name, (secured, reached) in tables.items() if reached and not secured} == open_to_all
    assert {name for name, (_, reached) in tables.items() if reached} == set(SEEN) - {"meters_now"} | open_to_all | {
        "audit_logs"
    }


def test_views_that_the_api_reads_show_what_its_caller_sees(people: People) -> None:
    views = people.owner.execute(
        "SELECT relname, reloptions FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'"
        " AND has_table_privilege('segs_api', oid, 'SELECT')"
    ).fetchall()
    assert [(row["relname"], row["reloptions"]) for row in views] == [("meters_now", ["security_invoker=true"])]


def test_the_log_is_for_admins(people: People) -> None:
    """D13."""
    counts = {name: len(people.keys(caller, "audit_logs")) for name, caller in WHO.items()}

    assert counts.pop("the admin") > 50
    assert set(counts.values()) == {0}


def test_other_services_see_all_rows(people: People) -> None:
    for role in ("segs_worker", "segs_readonly"):
        with people.owner.transaction(force_rollback=True):
            people.owner.execute(f"SET LOCAL ROLE {role}")
            [row] = people.owner.execute("SELECT count(*) AS users FROM (SELECT user_id FROM users) AS u").fetchall()
            [meters] = people.owner.execute("SELECT count(*) AS meters FROM meters_now").fetchall()
        assert (row["users"], meters["meters"]) == (6, 3)


def test_a_tenant_who_follows_another_sees_nothing_of_before(people: People) -> None:
    """The one before keeps what was theirs and over by then, and sees nothing of what goes on or comes."""
    people.owner.execute("UPDATE alerts SET state = 'resolved', resolved_at = '2026-01-11Z' WHERE alert_id = 1")
    people.owner.execute(
        "INSERT INTO alerts (rule, meter_id, category, severity, state, message, started_at, fired_at)"
        " VALUES ('over_voltage', 1, 'supply', 'low', 'firing', 'x', '2026-01-10Z', '2026-01-10Z')"
    )
    people.owner.execute("SELECT meter_give('MTR-00000001', %s, %s, %s)", [BOB, NOW - DAY, NOW])
    people.owner.execute("INSERT INTO meter_exchanges (meter_id, exchanged_at) VALUES (1, %s)", [NOW - HOUR])
    alert = (
        "INSERT INTO alerts (rule, meter_id, category, severity, state, message, started_at, fired_at)"
        " VALUES ('x', 1, 'supply', 'low', 'firing', 'x', %s, %s)"
    )
    people.owner.execute(alert, [NOW - HOUR, NOW - HOUR])

    of_meter_1 = "SELECT {} AS key FROM {} WHERE meter_id = 1 ORDER BY 1"
    seen = {
        name: [
            [row["key"] for row in people.ask(caller, of_meter_1.format(key, table))]
            for key, table in (
                ("meter_exchange_id", "meter_exchanges"),
                ("alert_id", "alerts"),
                ("invoice_id", "invoices"),
                ("user_id", "meter_owners"),
            )
        ]
        for name, caller in (("Ada", ADA), ("Bob", BOB))
    }
    assert seen == {"Ada": [[1], [1], [1], [ADA]], "Bob": [[4], [7], [], [BOB]]}


def test_an_ownership_that_is_to_come_shows_nothing_yet(people: People) -> None:
    people.owner.execute("SELECT meter_give('MTR-00000001', %s, %s, %s)", [BOB, NOW + DAY, NOW])

    assert people.keys(BOB, "meters") == {2, 3}


def test_who_registers_or_calls_the_api_gives_no_meter_to_anybody(people: People) -> None:
    """D12."""
    for caller in (ADA, OPS, ROOT):
        for statement in (
            "SELECT meter_give('MTR-00000002', 1, now(), now())",
            "INSERT INTO meter_owners (meter_id, user_id, valid) VALUES (2, 1, '[-infinity, infinity)')",
            "UPDATE meter_owners SET user_id = 1",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                people.ask(caller, statement)


@pytest.mark.parametrize("column", ["role", "region", "email", "password_hash", "suspended_at", "email_verified_at"])
def test_nobody_changes_what_decides_over_rights_by_hand(people: People, column: str) -> None:
    """D6, D10, D11."""
    for caller in (ADA, ROOT):
        with pytest.raises(errors.InsufficientPrivilege):
            people.ask(caller, f"UPDATE users SET {column} = NULL")


def test_a_setting_of_a_session_makes_nobody_an_admin(people: People) -> None:
    """D13: the role is the database's own word."""
    with people.owner.transaction():
        people.owner.execute("SELECT set_config('segs.role', 'ADMIN', true)")
        assert people.keys(ADA, "meters") == {1}


def test_a_meter_is_given_in_order_and_audited(people: People) -> None:
    people.owner.execute("SELECT meter_give('MTR-00000001', %s, %s, %s)", [BOB, NOW, NOW])
    with pytest.raises(psycopg.Error) as refused:
        people.owner.execute("SELECT meter_give('MTR-00000001', %s, %s, %s)", [ADA, NOW - DAY, NOW])
    people.owner.execute("SELECT meter_give('MTR-00000001', NULL, %s, %s)", [NOW + HOUR, NOW])

    assert refused.value.sqlstate == "SG053"
    spans = (
        "SELECT user_id, nullif(lower(valid), '-infinity') AS lo, upper(valid) AS hi"
        " FROM meter_owners WHERE meter_id = 1 ORDER BY valid"
    )
    assert [tuple(row.values()) for row in people.owner.execute(spans)] == [(ADA, None, NOW), (BOB, NOW, NOW + HOUR)]


_SPANS: LiteralString = (
    "SELECT user_id, lower(valid) AS lo, nullif(upper(valid), 'infinity') AS hi FROM meter_owners"
    " WHERE meter_id = %s ORDER BY valid"
)


def _give(people: People, meter_id: int, user_id: int | None, since: datetime) -> str | None:
    """SQLSTATE of a refusal."""
    try:
        code = f"MTR-{meter_id:08}"
        people.owner.execute("SELECT meter_give(%s, %s, %s, %s)", [code, user_id, since, NOW])
    except psycopg.Error as refused:
        return refused.sqlstate
    return None


def test_who_has_a_meter_has_it_from_earlier_on_as_far_as_it_was_nobody_s(people: People) -> None:
    [row] = people.owner.execute("INSERT INTO meters DEFAULT VALUES RETURNING meter_id").fetchall()
    meter = row["meter_id"]
    assert _give(people, meter, ADA, NOW - 9 * DAY) is None
    assert _give(people, meter, None, NOW - 8 * DAY) is None
    assert _give(people, meter, BOB, NOW) is None

    refused = [_give(people, meter, who, NOW - days * DAY) for who, days in ((BOB, 9), (ADA, 5), (None, 5))]
    assert _give(people, meter, BOB, NOW - 8 * DAY) is None

    assert refused == 3 * ["SG053"]
    assert [tuple(one.values()) for one in people.owner.execute(_SPANS, [meter])] == [
        (ADA, NOW - 9 * DAY, NOW - 8 * DAY),
        (BOB, NOW - 8 * DAY, None),
    ]
