"""Meters are billed in blocks: what one of them is refused is told of it alone, and all others are as they would be
each by itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest

from cloud.billing import block
from cloud.billing.block import Billed
from tests.integration.billing.conftest import APRIL, MARCH, QUARTER, World, midnight
from tests.integration.billing.test_dynamic import price
from tests.integration.billing.test_generation import generated

MAY = date(2026, 5, 1)
AT_ONCE = 100
"""Meters of the first block, which is all of a test's."""
EACH: list[dict[str, Any]] = [
    {"energyratestructure": [[{"rate": "0.30"}]]},
    {
        "energyratestructure": [[{"rate": "0.10"}], [{"rate": "0.40"}]],
        "energyweekdayschedule": [[0] * 8 + [1] * 16] * 12,
        "energyweekendschedule": [[0] * 24] * 12,
        "fixedchargefirstmeter": "9.90",
        "fixedchargeunits": "EUR/month",
        "taxes": [{"name": "VAT", "percent": 19, "on": ["all"]}],
        "rounding": "line",
    },
    {
        "energyratestructure": [[{"max": 100, "rate": "0.111"}, {"rate": "0.333"}]],
        "flatdemandstructure": [[{"rate": "10"}]],
        "flatdemandmonths": [0] * 12,
        "lookbackpercent": "0.8",
        "lookbackrange": 12,
    },
    {"energyratestructure": [[{"rate": "0.30"}]], "metering": {"rule": "net_metering", "credit_month": 12}},
    {"energyratestructure": [[{"rate": "0.30", "sell": "0.07"}]], "metering": {"rule": "buy_all_sell_all"}},
    {"regional_price": True},
]
"""A tariff of each kind."""


def _reasons(done: Sequence[Billed]) -> dict[str, list[str]]:
    return {billed.meter: [finding.reason for finding in billed.findings] for billed in done}


def _serials(world: World) -> list[int]:
    found: list[int] = world.one("SELECT array_agg(serial_number ORDER BY 1) FROM invoices WHERE kind = 'invoice'")
    return found


def _lines(world: World, meter: int) -> list[tuple[Any, ...]]:
    # A number is another one, wherever it stands.
    found = world.rows(
        "SELECT i.period_start, i.period_end, i.user_id, i.status, i.net_amount, i.tax_amount, i.energy_import_wh,"
        " i.energy_export_wh, i.intervals_version, i.peak_kw, l.position, l.component,"
        " regexp_replace(l.description, 'INV-[0-9]+', 'INV'), l.tariff_id, l.period, l.tier, l.span, l.quantity,"
        " l.unit, l.unit_price, l.amount, l.quality, l.estimated, d.days, b.banks"
        " FROM invoices AS i JOIN invoice_line_items AS l USING (invoice_id)"
        " CROSS JOIN LATERAL (SELECT jsonb_agg(to_jsonb(d) - 'invoice_id' ORDER BY d.day) AS days"
        " FROM invoice_days AS d WHERE d.invoice_id = i.invoice_id) AS d"
        " CROSS JOIN LATERAL (SELECT jsonb_agg(to_jsonb(b) - 'invoice_id' ORDER BY b.period) AS banks"
        " FROM invoice_banks AS b WHERE b.invoice_id = i.invoice_id) AS b"
        " WHERE i.meter_id = %s ORDER BY i.period_start, l.position",
        meter,
    )
    return [tuple(row.values()) for row in found]


def _use_like(world: World, meter: int, wh: Sequence[int], export_wh: int = 130) -> None:
    """March and April at once."""
    world.telemetry.execute(
        "INSERT INTO aggregates_15m (meter_id, bucket, samples, coverage, quality, energy_import_wh, energy_export_wh)"
        " SELECT %s, t, 90, 100, 17, (%s::integer[])[1 + n %% 4], %s"
        " FROM generate_series(%s::timestamptz, %s - INTERVAL '1 minute', INTERVAL '15 minutes')"
        " WITH ORDINALITY AS g (t, n)",
        [meter, list(wh), export_wh, midnight(MARCH), midnight(MAY)],
    )


def _one_of_each(world: World) -> list[int]:
    """Meters with a tariff of each kind, one of which has another owner in the middle of March."""
    meters = []
    for n in range(len(EACH)):
        meter = world.meter(tariff=f"kind{n}")
        _use_like(world, meter, wh=[100, 250, 700, 90])
        meters.append(meter)
    generator = world.meter(user=None, tariff=None)
    _use_like(world, generator, wh=[0, 0, 0, 0], export_wh=900)
    generated(world, meters[4], generator, midnight(date(2026, 1, 1)))
    world.use(meters[1], date(2026, 3, 4), date(2026, 3, 5), wh=80, quality=8)
    at = midnight(date(2026, 3, 11))
    world.do("SELECT meter_give(%s, 2, %s, %s)", f"MTR-{meters[0]:08}", at, at)
    return meters


def test_bills_are_the_same_whether_they_are_made_one_by_one_or_in_a_block(world: World) -> None:
    """Two months, so that banks, peaks and what came late go on from one bill to the next."""
    price(world, "0.40")
    for n, document in enumerate(EACH):
        world.tariff(f"kind{n}", **document)
    alone, together = _one_of_each(world), _one_of_each(world)
    world.now = datetime(2026, 5, 5, tzinfo=UTC)

    for month in (MARCH, APRIL):
        for meter in alone:
            world.run(month, f"MTR-{meter:08}")
        done = world.run(month, *(f"MTR-{meter:08}" for meter in together), first=AT_ONCE)
        assert [(billed.state, billed.findings) for billed in done] == [("done", [])] * len(together)
        for meter in alone + together:
            world.use(meter, date(2026, 3, 20), date(2026, 3, 21), wh=400, export_wh=130)

    for one, other in zip(alone, together, strict=True):
        assert _lines(world, one) == _lines(world, other)
        assert len({line[0] for line in _lines(world, one)}) >= 2
    assert world.one("SELECT count(*) FROM invoice_line_items WHERE component = 'adjustment'") > 0


def test_what_one_meter_is_refused_is_told_of_it_and_the_others_are_billed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D14: a reason of each kind, and two good meters beside them."""
    world.tariff("far", timezone="America/New_York", energyratestructure=[[{"rate": "0.30"}]])
    world.tariff("spot", price_series=True)
    for code in ("moving", "solar"):
        world.tariff(
            code, metering={"rule": "buy_all_sell_all"}, energyratestructure=[[{"rate": "0.30", "sell": "0.1"}]]
        )
    net = {"energyratestructure": [[{"rate": "0.30"}]], "metering": {"rule": "net_metering", "credit_month": 12}}
    world.tariff("net", **net)
    world.tariff("net", date(2026, 3, 15), **net)
    world.tariff("changing", energyratestructure=[[{"rate": "0.30"}]])
    good = world.meter()
    expected = {
        world.meter(user=None): ["no_owner"],
        world.meter(tariff=None): ["no_tariff"],
        world.meter(tariff="far"): ["tariff_zone"],
        world.meter(tariff="spot"): ["no_prices"],
        world.meter(tariff="solar"): ["no_generation"],
        (gaps := world.meter()): ["missing"],
        (failing := world.meter()): ["failed"],
        (waiting := world.meter()): ["unfinished"],
        (broken := world.meter()): ["broken"],
        world.meter(tariff="net"): ["refused"],
        world.meter(user=2): ["refused"],
        world.meter(tariff="changing"): ["refused"],
    }
    better = world.meter()
    for meter in (good, *expected, better):
        world.use(meter)
    world.telemetry.execute(
        "DELETE FROM aggregates_15m WHERE meter_id = %s AND bucket = %s", [gaps, midnight(MARCH) + QUARTER]
    )
    world.use(failing, date(2026, 3, 4), date(2026, 3, 5), quality=10)
    world.telemetry.execute(
        "INSERT INTO dirty_meters (resolution_min, block, meters, first_time, last_time, due_at)"
        " VALUES (1, 0, ARRAY[%s], %s, %s, now())",
        [waiting, midnight(MARCH), midnight(MARCH)],
    )
    world.telemetry.execute(
        "INSERT INTO failed_marks (meter_id, first_time, last_time, marked_at, failed_at, error)"
        " VALUES (%s, %s, %s, now(), now(), 'overflow')",
        [broken, midnight(MARCH), midnight(MARCH)],
    )
    with world.domain.transaction():
        world.do("SELECT set_config('segs.user_id', '2', true)")
        world.do("SELECT account_delete(2, %s)", world.now)
    asked = block.energy

    def and_then_a_price_changes(*arguments: Any, **named: Any) -> Any:
        found = asked(*arguments, **named)
        world.do(
            "INSERT INTO tariffs (code, name, region, origin, reason, currency, timezone, interval_s, document, valid)"
            " SELECT code, name, 'north', 'override', 'storm', currency, timezone, interval_s, document,"
            " tstzrange(%s, %s) FROM tariffs WHERE code = 'changing' AND origin = 'base'",
            *(midnight(date(2026, 3, 2)), midnight(date(2026, 3, 3))),
        )
        return found

    monkeypatch.setattr(block, "energy", and_then_a_price_changes)

    done = world.run(MARCH, first=AT_ONCE)

    codes = {f"MTR-{meter:08}": reasons for meter, reasons in expected.items()}
    assert _reasons(done) == {f"MTR-{good:08}": [], **codes, f"MTR-{better:08}": []}
    refusals = [str(billed.findings[0]) for billed in done if _reasons([billed])[billed.meter] == ["refused"]]
    for refusal, said in zip(refusals, ("net metering", "nobody knows the name", "changed while it was"), strict=True):
        assert said in refusal
    assert world.rows("SELECT meter_id, serial_number FROM invoices WHERE status = 'final' ORDER BY 1") == [
        {"meter_id": good, "serial_number": 1},
        {"meter_id": better, "serial_number": 2},
    ]
    # That of the customer without a name waits for one.
    assert world.one("SELECT count(*) FROM invoices WHERE status = 'draft'") == 1
    assert world.one("SELECT count(*) FROM billing_work WHERE state = 'blocked'") == len(expected)


def test_credit_is_used_for_one_bill_of_a_block_after_another(world: World) -> None:
    """Of 300 the first bill uses 222.90, the second the rest, the third nothing."""
    for meter in [world.meter() for _ in range(3)]:
        world.use(meter)
    other = world.final(world.meter(user=1), "300")
    world.pay(other, "300", "p1")
    world.credit(other)

    world.run(MARCH, *(f"MTR-{n:08}" for n in (1, 2, 3)), first=AT_ONCE)

    bills = world.rows("SELECT status, paid_amount FROM invoices WHERE meter_id <= 3 ORDER BY serial_number")
    assert [tuple(bill.values()) for bill in bills] == [
        ("paid", Decimal("222.90")),
        ("final", Decimal("77.10")),
        ("final", 0),
    ]
    assert world.owed() == 0


@pytest.mark.parametrize("policy", ["adjust", "replace"])
def test_what_came_late_is_corrected_in_blocks_and_a_bill_that_cannot_be_stays(world: World, policy: str) -> None:
    world.do("UPDATE billing_settings SET late_data = %s", policy)
    meters = [world.meter() for _ in range(4)]
    for meter in meters:
        world.use(meter, MARCH, MAY)
    world.now = datetime(2026, 5, 5, tzinfo=UTC)
    world.run(MARCH, first=AT_ONCE)
    for meter in meters[:3]:
        world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=500)
    # Not all of it is there yet.
    gap = midnight(date(2026, 3, 9))
    world.telemetry.execute("DELETE FROM aggregates_15m WHERE meter_id = %s AND bucket = %s", [meters[2], gap])

    done = world.run(APRIL, first=AT_ONCE)

    march, april, late = Decimal("222.90"), Decimal("216.00"), Decimal("7.20")
    if policy == "adjust":
        assert [[bill["total_amount"] for bill in billed.bills] for billed in done] == [
            [april + late],
            [april + late],
            [april],
            [april],
        ]
    else:
        assert [[bill["total_amount"] for bill in billed.bills] for billed in done] == [
            [march + late, april],
            [march + late, april],
            [april],
            [april],
        ]
        assert world.one("SELECT count(*) FROM invoices WHERE kind = 'credit_note'") == 2
    assert _serials(world) == list(range(1, len(_serials(world)) + 1))


def test_runs_that_bill_the_same_customers_at_once_wait_for_each_other_and_number_without_a_gap(world: World) -> None:
    """D3: two customers with meters in every block of both."""
    for n in range(16):
        world.use(world.meter(user=1 + n % 2))

    with ThreadPoolExecutor(2) as pool:
        done = [billed for run in pool.map(lambda _: world.run(MARCH, first=4), range(2)) for billed in run]

    assert sorted(billed.meter for billed in done) == [f"MTR-{n:08}" for n in range(1, 17)]
    assert _serials(world) == list(range(1, 17))


def test_a_block_that_is_killed_with_its_numbers_given_leaves_no_gap(world: World) -> None:
    """D3, kill -9: the numbers go back with the transaction that took them, and the next run gives them again."""
    for _ in range(10):
        world.use(world.meter())
    databases = {"SEGS_DOMAIN_DSN": world.domain_dsn, "SEGS_TELEMETRY_DSN": world.telemetry_dsn}
    command = [sys.executable, "-m", "cloud", "billing", "run", "--month", "2026-03"]
    started: dict[str, Any] = {"env": {**os.environ, **databases}, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    killed = subprocess.Popen(command, **started)
    deadline = time.monotonic() + 60
    while world.one("SELECT count(*) FROM invoices") < 3:
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    with world.domain.transaction():
        # Bills are posted after they got their numbers.
        world.do("LOCK TABLE ledger_postings IN EXCLUSIVE MODE")
        while not world.one("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        half: int = world.one("SELECT count(*) FROM invoices")
        assert 3 <= half < 10

    resumed = subprocess.run(command, timeout=120, text=True, check=False, **started)

    assert resumed.returncode == 0, resumed.stderr
    assert len(resumed.stdout.splitlines()) == 10 - half
    assert _serials(world) == list(range(1, 11))
    assert world.one("SELECT count(DISTINCT meter_id) FROM invoices") == 10
    assert world.one("SELECT count(*) FROM ledger_postings") == 10


def test_runs_of_two_months_that_wait_for_each_other_both_bill_all_that_they_have(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D3: Ada has the meter until the 11th of March, then Bob. April's run makes Ada's bill anew, and has the
    customers' credit when it wants the meter's place on March's list; March's run has that, and wants Bob's credit."""
    world.do("UPDATE billing_settings SET late_data = 'replace'")
    meter = world.meter()
    world.use(meter, MARCH, MAY)
    at = midnight(date(2026, 3, 11))
    world.do("SELECT meter_give(%s, 2, %s, %s)", f"MTR-{meter:08}", at, at)
    gap = midnight(date(2026, 3, 20))
    world.telemetry.execute("DELETE FROM aggregates_15m WHERE meter_id = %s AND bucket = %s", [meter, gap])
    world.now = datetime(2026, 5, 5, tzinfo=UTC)
    world.run(MARCH)
    world.use(meter, date(2026, 3, 4), date(2026, 3, 5), wh=500)
    world.use(meter, date(2026, 3, 20), date(2026, 3, 21))
    together, met = Barrier(2), set[tuple[date, str]]()

    def meet_before(name: str, month: date) -> None:
        act = getattr(block.Block, name)

        def and_then(self: Any, asked: Any) -> Any:
            if self._month == month and (month, name) not in met:
                met.add((month, name))
                together.wait(30)
            return act(self, asked)

        monkeypatch.setattr(block.Block, name, and_then)

    meet_before("_replace", APRIL)
    meet_before("_finalise", MARCH)

    with ThreadPoolExecutor(2) as pool:
        done = [billed for run in pool.map(world.run, (MARCH, APRIL)) for billed in run]

    assert len(met) == 2
    assert [(billed.state, billed.findings) for billed in done] == [("done", [])] * 2
    bills = world.rows(
        "SELECT user_id, period_start, total_amount FROM invoices WHERE kind = 'invoice' AND status <> 'cancelled'"
        " ORDER BY period_start"
    )
    assert [tuple(bill.values()) for bill in bills] == [
        (1, MARCH, Decimal("79.20")),
        (2, date(2026, 3, 11), Decimal("150.90")),
        (2, APRIL, Decimal("216.00")),
    ]
    assert _serials(world) == [1, 2, 3, 4]


def test_a_meter_that_somebody_else_has_is_waited_for_and_billed_where_they_leave_it(world: World) -> None:
    """D14: the run ended without it, and said nothing."""
    meters = [world.meter() for _ in range(2)]
    for meter in meters:
        world.use(meter)
    world.do("SELECT billing_enlist(%s, NULL)", MARCH)
    deadline = time.monotonic() + 60
    with ThreadPoolExecutor(1) as pool:
        with world.domain.transaction():
            world.do("SELECT FROM billing_work WHERE meter_id = %s FOR UPDATE", meters[0])
            run = pool.submit(world.run)
            while not world.one("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                assert not run.done()
                assert time.monotonic() < deadline
                time.sleep(0.01)
        done = run.result(60)

    assert [billed.meter for billed in done] == [f"MTR-{meter:08}" for meter in reversed(meters)]
