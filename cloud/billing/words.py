"""Words, numbers and days of a bill, in the languages that bills have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from cloud.tariffs.amount import plain


@dataclass(frozen=True, slots=True)
class Words:
    """One language. `said` has every text by its name; `components` those of lines."""

    said: Mapping[str, str]
    components: Mapping[str, str]
    units: Mapping[str, str]
    point: str
    group: str
    day: Callable[[date], str]

    def number(self, value: Decimal, places: int | None = None) -> str:
        """`places` decimal places; all there are without."""
        text = plain(value if places is None else value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))
        whole, _, fraction = text.partition(".")
        if places is not None:
            fraction = fraction.ljust(places, "0")
        sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
        whole = f"{int(digits):,}".replace(",", self.group)
        return f"{sign}{whole}{self.point}{fraction}" if fraction else f"{sign}{whole}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

ENGLISH = Words(
    said={
        "invoice": "Invoice",
        "credit_note": "Credit note",
        "draft": "Draft",
        "number": "Number",
        "date": "Date",
        "due": "Due",
        "meter": "Meter",
        "period": "Period",
        "until": "to",
        "takes_back": "Takes back",
        "reason": "Reason",
        "what": "For",
        "quantity": "Quantity",
        "price": "Price",
        "amount": "Amount",
        "net": "Net",
        "tax": "Taxes",
        "total": "Total",
        "paid": "Paid",
        "credited": "Taken back",
        "open": "To pay",
        "estimated": "estimated",
        "of_period": "period",
        "of_tier": "tier",
        "usage": "Energy of each day, kWh",
        "footnote": "Days in a lighter colour are partly estimated. Days begin at midnight in {timezone}.",
        "page": "Page {page} of {pages}",
        "correction": "Correction of {of}",
        "tax_correction": "Tax in the correction of {of}",
        "kept": "Kept of {of}",
        "tax_kept": "Tax in what is kept of {of}",
    },
    components={
        "energy": "Energy",
        "power_factor": "Power factor",
        "demand_flat": "Demand",
        "demand_tou": "Demand by period",
        "fixed": "Fixed charge",
        "baseline": "Baseline credit",
        "export": "Fed in",
        "minimum": "To the minimum",
        "rounding": "Rounding",
    },
    units={},
    point=".",
    group=",",
    day=lambda day: f"{day.day} {_MONTHS[day.month - 1]} {day.year}",
)

GERMAN = Words(
    said={
        "invoice": "Rechnung",
        "credit_note": "Stornorechnung",
        "draft": "Entwurf",
        "number": "Nummer",
        "date": "Datum",
        "due": "Zahlbar bis",
        "meter": "Zähler",
        "period": "Zeitraum",
        "until": "bis",
        "takes_back": "Storniert",
        "reason": "Grund",
        "what": "Posten",
        "quantity": "Menge",
        "price": "Preis",
        "amount": "Betrag",
        "net": "Netto",
        "tax": "Steuern",
        "total": "Summe",
        "paid": "Bezahlt",
        "credited": "Gutgeschrieben",
        "open": "Zu zahlen",
        "estimated": "geschätzt",
        "of_period": "Zeitzone",
        "of_tier": "Stufe",
        "usage": "Energie je Tag, kWh",
        "footnote": "Hellere Tage sind zum Teil geschätzt. Tage beginnen um Mitternacht in {timezone}.",
        "page": "Seite {page} von {pages}",
        "correction": "Korrektur zu {of}",
        "tax_correction": "Steuer in der Korrektur zu {of}",
        "kept": "Weiterhin aus {of}",
        "tax_kept": "Steuer, weiterhin aus {of}",
    },
    components={
        "energy": "Energie",
        "power_factor": "Leistungsfaktor",
        "demand_flat": "Leistung",
        "demand_tou": "Leistung nach Zeitzone",
        "fixed": "Grundpreis",
        "baseline": "Freimenge",
        "export": "Einspeisung",
        "minimum": "Bis zum Mindestbetrag",
        "rounding": "Rundung",
    },
    units={"day": "Tage", "month": "Monate", "year": "Jahre", "percent": "%", "bill": "Rechnung"},
    point=",",
    group=".",
    day=lambda day: f"{day.day:02}.{day.month:02}.{day.year}",
)


def words(language: str | None) -> Words:
    """Of a language as preferences name it, de or de-AT; English for those that bills don't have."""
    return GERMAN if (language or "").partition("-")[0] == "de" else ENGLISH
