"""A customer with a bill: their meter, its tariff, quarter-hours of last month, and a run of `segs-cloud billing`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from cloud.payments.simulated import Simulated
from cloud.tariffs.document import Document
from cloud.tariffs.normal import settled
from tests.integration.api.conftest import PROVIDER_SECRET, Api, Person

PROVIDER = Simulated([PROVIDER_SECRET.encode()])
WH = 250
"""Of each quarter-hour: a kilowatt."""
KEYED = (
    *("finalise", "payments", "payments/manual", "refunds"),
    *("disputes", "disputes/resolve", "credit-notes", "payments/manual/reversals"),
)
"""What is done with a bill and takes an Idempotency-Key, in an order in which all of it can be done."""
_QUARTER = timedelta(minutes=15)
_NUMBERS = count(1)


def last_month() -> date:
    """The first day of the last month that can be billed whatever the time is."""
    return _before((datetime.now(UTC) - timedelta(days=3)).date().replace(day=1))


def _before(first: date) -> date:
    return (first - timedelta(days=1)).replace(day=1)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@dataclass
class Billed:
    """A meter in UTC with its owner; `month` is the one that is billed."""

    api: Api
    owner: Person
    meter: str
    month: date

    @property
    def end(self) -> date:
        return (self.month + timedelta(days=32)).replace(day=1)

    @property
    def kwh(self) -> int:
        return (self.end - self.month).days * 24

    def use(self, since: datetime, until: datetime, wh: int = WH) -> None:
        """Quarter-hours."""
        rows = [(since + n * _QUARTER, wh) for n in range((until - since) // _QUARTER)]
        meter_id = int(self.meter.removeprefix("MTR-"))
        with psycopg.connect(self.api.telemetry, autocommit=True) as telemetry, telemetry.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO aggregates_15m (meter_id, bucket, samples, coverage, quality, energy_import_wh,"
                " energy_export_wh) VALUES (%s, %s, 90, 100, 17, %s, 0)",
                [(meter_id, at, value) for at, value in rows],
            )
            telemetry.execute("DELETE FROM dirty_intervals")

    def run(self, **settings: str) -> int:
        """Bills the month; number of the row of its invoice."""
        for name, value in settings.items():
            self.api.do(f"UPDATE billing_settings SET {name} = %s", value)  # type: ignore[arg-type]
        done = self.api.segs_cloud("billing", "run", "--month", f"{self.month:%Y-%m}", "--meter", self.meter)
        for name in settings:
            self.api.do(f"UPDATE billing_settings SET {name} = DEFAULT")  # type: ignore[arg-type]
        assert done.returncode == 0, done.stdout + done.stderr
        statement = "SELECT max(invoice_id) FROM invoices JOIN meters USING (meter_id) WHERE meter_code = %s"
        [(invoice_id,)] = self.api.do(statement, self.meter)
        return int(invoice_id)


def tariff(api: Api, *, region: str | None = None, **document: Any) -> str:
    """Code of a new tariff, since long ago."""
    code = f"tariff{next(_NUMBERS)}"
    whole = {"name": code, "currency": "EUR", "timezone": "UTC"} | document
    found = Jsonb(settled(Document.model_validate(whole)))
    statement = "SELECT tariff_add(%s, %s, %s, '2020-01-01Z', NULL, NULL, now())"
    api.do(statement, code, found, region)
    return code


def customer(api: Api, *, rate: str = "0.30", region: str = "north", owner: Person | None = None) -> Billed:
    """Somebody whose meter took a kilowatt all of last month, and nothing is billed yet. 19 % are taxes."""
    owner = owner or api.person()
    meter = owner.meter(region)
    code = tariff(api, energyratestructure=[[{"rate": rate}]], taxes=[{"name": "vat", "percent": 19, "on": "all"}])
    api.do("SELECT meter_assign(%s, %s, '2021-01-01Z', now())", meter, code)
    found = Billed(api, owner, meter, last_month())
    found.use(midnight(found.month), midnight(found.end))
    return found


def tell(api: Api, payment: dict[str, Any], number: str, *, event: str, at: datetime | None = None, **said: Any) -> Any:
    """The provider tells of a payment; the answer."""
    body, signature = PROVIDER.tell(
        event_id=event,
        payment=payment["reference"],
        invoice=number,
        amount=Decimal(said.get("amount", payment["amount"])),
        currency="EUR",
        status=said.get("status", "succeeded"),
        at=at or datetime.now(UTC),
        signed_at=said.get("signed_at"),
    )
    headers = {"segs-signature": said.get("signature", signature), "content-type": "application/json"}
    return api.ask("POST", "/billing/webhooks/simulated", said.get("body", body), headers=headers)
