"""The forms of bills and payments. Amounts are decimal texts: numbers of JSON get rounded on the way."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from cloud.api.http.fields import printable

Kind = Literal["invoice", "credit_note"]
Status = Literal["draft", "final", "paid", "overdue", "disputed", "cancelled"]
Component = Literal[
    "energy",
    "demand_flat",
    "demand_tou",
    "fixed",
    "minimum",
    "baseline",
    "export",
    "power_factor",
    "adjustment",
    "rounding",
    "tax",
]
Money = Annotated[
    str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="A decimal, in the bill's currency.", examples=["24.90"])
]
Number = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", examples=["182.4"])]
Month = Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", examples=["2026-10"])]
"""A month, local to the meter."""
Paid = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{1,11}(\.[0-9]{1,4})?$",
        description="How much, a decimal above 0, in the bill's currency.",
        examples=["1.00"],
    ),
]
Sentence = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    Field(min_length=1, max_length=500, examples=["The reading was of another meter"]),
    AfterValidator(printable),
]
Reference = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    Field(min_length=1, max_length=200, examples=["statement 214, line 7"]),
    AfterValidator(printable),
]
Method = Annotated[Literal["cash", "bank"], Field(description="How the money went.")]


def first_day(month: str | None) -> date | None:
    """Of a month."""
    return None if month is None else date.fromisoformat(f"{month}-01")


def decimal(amount: str | None) -> Decimal | None:
    """What an amount says."""
    return None if amount is None else Decimal(amount)


class Invoice(BaseModel):
    """A bill in short: invoiced is paid, credited or open."""

    invoice_id: Annotated[int, Field(description="Number of the row; a bill's own number is in number.")]
    kind: Annotated[Kind, Field(description="An invoice, or the credit note that takes one back.")]
    number: Annotated[str | None, Field(description="Its number, null for a draft.", examples=["INV-0000000001"])]
    status: Annotated[
        Status,
        Field(description="A draft may still change; from final on it is settled, disputed or cancelled, and no more."),
    ]
    meter: Annotated[str, Field(description="Code of the meter.")]
    user_id: Annotated[int, Field(description="Number of the customer.")]
    first_day: Annotated[date, Field(description="The first local day that it is over.")]
    end_day: Annotated[date, Field(description="The local day after the last.")]
    timezone: Annotated[str, Field(description="IANA zone of its days.")]
    currency: Annotated[str, Field(description="ISO 4217.")]
    net_amount: Annotated[Money, Field(description="Without taxes, in the bill's currency.")]
    tax_amount: Annotated[Money, Field(description="Taxes, in the bill's currency.")]
    total_amount: Annotated[Money, Field(description="Both, in the bill's currency; of a credit note below 0.")]
    paid_amount: Annotated[Money, Field(description="What was paid of it, in the bill's currency.")]
    credited_amount: Annotated[Money, Field(description="What credit notes took back, in the bill's currency.")]
    open_amount: Annotated[Money, Field(description="What is left to pay, in the bill's currency.")]
    finalised_at: Annotated[datetime | None, Field(description="When it became final.")]
    due_date: Annotated[date | None, Field(description="The last local day to pay.")]


class InvoiceLine(BaseModel):
    """A line of a bill, and what it was priced from."""

    position: Annotated[int, Field(description="Position on the bill, from 1.")]
    component: Annotated[Component, Field(description="What is charged.")]
    description: Annotated[str, Field(description="The same for people.", examples=["Energy"])]
    tariff: Annotated[str | None, Field(description="Code of the tariff.", examples=["house"])]
    tariff_id: Annotated[int | None, Field(description="Number of its price table.")]
    period: Annotated[int | None, Field(description="Number of the price period, from 0.")]
    tier: Annotated[int | None, Field(description="Number of the tier, from 0.")]
    from_: Annotated[datetime | None, Field(alias="from", description="Since when.")]
    to: Annotated[datetime | None, Field(description="Until when, half-open.")]
    quantity: Annotated[Number, Field(description="How much, a decimal, in unit.")]
    unit: Annotated[str, Field(description="kWh, kW, day, month, percent, bill.", examples=["kWh"])]
    unit_price: Annotated[Number, Field(description="A decimal, in the bill's currency by unit.", examples=["0.31"])]
    amount: Annotated[Money, Field(description="What it adds, in the bill's currency.")]
    quality: Annotated[int | None, Field(description="The worst QualityOfReading (ESPI) of what was measured.")]
    intervals_version: Annotated[
        int | None, Field(description="Version of the intervals that it was priced from, the sum of theirs.")
    ]
    estimated: Annotated[bool, Field(description="Whether any of the energy was estimated.")]


class UsageDay(BaseModel):
    """Energy of a local day."""

    day: Annotated[date, Field(description="The day.")]
    energy_import_wh: Annotated[int, Field(description="What was taken, Wh.")]
    energy_export_wh: Annotated[int, Field(description="What was given, Wh.")]
    estimated: Annotated[bool, Field(description="Whether any of it was estimated.")]


class Payment(BaseModel):
    """Money that came for a bill, or went back."""

    payment_id: Annotated[int, Field(description="Number of the transaction.")]
    invoice_id: Annotated[int, Field(description="Number of the bill's row.")]
    kind: Annotated[Literal["payment", "refund"], Field(description="Whether it came or went.")]
    provider: Annotated[str, Field(description="Who told of it; manual for an operator.", examples=["simulated"])]
    reference: Annotated[
        str,
        Field(
            description="The provider's name of it; with it one pays there.",
            examples=["pay-7b0f5c0e-2d7c-4c0e-9a44-0c2f6a1f3f10"],
        ),
    ]
    amount: Annotated[Money, Field(description="How much, in currency.")]
    currency: Annotated[str, Field(description="ISO 4217.")]
    status: Annotated[
        Literal["pending", "succeeded", "failed", "reversed"],
        Field(description="Pending until the provider tells of it; reversed where what had come was taken back."),
    ]
    method: Annotated[str | None, Field(description="Of what an operator saw: cash or bank.", examples=["bank"])]
    occurred_at: Annotated[datetime, Field(description="When it happened.")]
    settled_at: Annotated[datetime | None, Field(description="When that happened.")]


class Dispute(BaseModel):
    """Somebody does not agree."""

    dispute_id: Annotated[int, Field(description="Number of the dispute.")]
    reason: Annotated[str, Field(description="Why.", examples=["Nobody was at home"])]
    opened_at: Annotated[datetime, Field(description="When it began.")]
    outcome: Annotated[Literal["upheld", "rejected"] | None, Field(description="How it ended; null while it is open.")]
    resolution: Annotated[str | None, Field(description="Why it ended so.", examples=["The meter was misread"])]
    resolved_at: Annotated[datetime | None, Field(description="When it ended.")]
    credit_note: Annotated[
        str | None, Field(description="Number of the credit note that it led to.", examples=["CRN-0000000001"])
    ]


class CreditNote(BaseModel):
    """A credit note of a bill, in short."""

    invoice_id: Annotated[int, Field(description="Number of its row.")]
    number: Annotated[str, Field(description="Its number.", examples=["CRN-0000000001"])]
    total_amount: Annotated[Money, Field(description="In the bill's currency, below 0.", examples=["-24.90"])]
    reason: Annotated[str, Field(description="Why.", examples=["The meter was misread"])]
    finalised_at: Annotated[datetime, Field(description="When it was made.")]


class InvoiceDetails(Invoice):
    """A bill with all that belongs to it."""

    credits: Annotated[
        str | None,
        Field(
            description="Of a credit note the number of the invoice that it takes back.", examples=["INV-0000000001"]
        ),
    ]
    reason: Annotated[str | None, Field(description="Of a credit note why.", examples=["The meter was misread"])]
    energy_import_wh: Annotated[int | None, Field(description="What was taken, Wh.")]
    energy_export_wh: Annotated[int | None, Field(description="What was given, Wh.")]
    peak_kw: Annotated[Number | None, Field(description="The highest quarter-hour, a decimal, kW.", examples=["4.2"])]
    recipient_name: Annotated[str | None, Field(description="To whom.", examples=["Ada Lovelace"])]
    recipient_address: Annotated[
        str | None, Field(description="Where to, a line each.", examples=["Main Street 1\n10115 Berlin"])
    ]
    issuer: Annotated[str | None, Field(description="Who bills, a line each.", examples=["SEGS"])]
    language: Annotated[str | None, Field(description="Language of the document.", examples=["en"])]
    paid_at: Annotated[datetime | None, Field(description="When nothing was open any more.")]
    overdue_at: Annotated[datetime | None, Field(description="Since when it is overdue.")]
    cancelled_at: Annotated[datetime | None, Field(description="When a credit note took it back.")]
    lines: Annotated[list[InvoiceLine], Field(description="What it is made of.")]
    usage: Annotated[list[UsageDay], Field(description="Energy of its days.")]
    payments: Annotated[list[Payment], Field(description="Money for it.")]
    disputes: Annotated[list[Dispute], Field(description="Its disputes.")]
    credit_notes: Annotated[list[CreditNote], Field(description="Its credit notes.")]
