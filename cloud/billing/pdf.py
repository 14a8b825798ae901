"""A bill as a PDF. The same bill is the same bytes: nothing in it is of the moment."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import font_roboto
from fpdf import FPDF
from fpdf.enums import Align, XPos, YPos

from cloud.billing.words import Words, words
from cloud.operator import Row

_FONTS = Path(font_roboto.__file__).parent / "files"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
# Millimetres of an A4 page.
_LEFT, _WIDTH, _LINE = 20.0, 170.0, 5.0
_COLUMNS = (78.0, 36.0, 28.0, 28.0)
_CHART_HEIGHT = 32.0
_ADDED = {
    "correction": "Correction of ",
    "tax_correction": "Tax in the correction of ",
    "kept": "Kept of ",
    "tax_kept": "Tax in what is kept of ",
}
"""How lines begin that are of other bills."""
_DARK, _LIGHT = (31, 78, 121), (157, 190, 219)


class _Page(FPDF):
    """A4 with a footer."""

    def __init__(self, text: Words, title: str, at: datetime) -> None:
        super().__init__(format="A4")
        self._text = text
        self.add_font("roboto", "", _FONTS / "Roboto-Regular.ttf")
        self.add_font("roboto", "B", _FONTS / "Roboto-Bold.ttf")
        self.set_font("roboto", size=9)
        self.set_margins(_LEFT, 18, _LEFT)
        self.set_auto_page_break(True, 20)
        self.set_title(title)
        self.set_producer("segs")
        self.set_creation_date(at)
        self.alias_nb_pages("{pages}")

    def footer(self) -> None:
        self.set_y(-14)
        self.set_font("roboto", size=7)
        self.cell(0, 4, self._text.said["page"].format(page=self.page_no(), pages="{pages}"), align=Align.R)
        self.set_font("roboto", size=9)

    def line_of(self, text: str, *, bold: bool = False, align: Align = Align.L) -> None:
        self.set_font("roboto", style="B" if bold else "")
        self.multi_cell(0, _LINE, text, align=align, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_font("roboto")


def written_pdf(bill: Row) -> bytes:
    """The bill of `cloud.billing.bill.whole`, in its own language and zone."""
    text = words(bill["language"])
    kind = text.said[bill["kind"]]
    number = bill["number"] or text.said["draft"]
    page = _Page(text, f"{kind} {number}", bill["finalised_at"] or _EPOCH)
    page.set_lang((bill["language"] or "en").partition("-")[0])
    page.add_page()
    for line in (bill["issuer"] or "").splitlines():
        page.line_of(line, align=Align.R)
    page.set_y(max(page.get_y(), 40))
    for line in filter(None, (bill["recipient_name"], *(bill["recipient_address"] or "").splitlines())):
        page.line_of(line)
    page.ln(8)
    page.set_font_size(16)
    page.multi_cell(0, 8, f"{kind} {number}", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    page.set_font_size(9)
    for name, value in _facts(bill, text):
        page.cell(34, _LINE, name)
        page.multi_cell(0, _LINE, value, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    page.ln(4)
    _lines(page, bill, text)
    _totals(page, bill, text)
    if bill["kind"] == "invoice" and bill["usage"]:
        _chart(page, bill, text)
    return bytes(page.output())


def _facts(bill: Row, text: Words) -> Iterator[tuple[str, str]]:
    zone = ZoneInfo(bill["timezone"])
    said = text.said
    if bill["finalised_at"]:
        yield said["date"], text.day(bill["finalised_at"].astimezone(zone).date())
    if bill["kind"] == "credit_note":
        yield said["takes_back"], bill["credits"]
        yield said["reason"], bill["reason"]
    elif bill["due_date"]:
        yield said["due"], text.day(bill["due_date"])
    yield said["meter"], bill["meter"]
    last = bill["end_day"] - timedelta(days=1)
    yield said["period"], f"{text.day(bill['first_day'])} {said['until']} {text.day(last)} ({bill['timezone']})"


def _lines(page: _Page, bill: Row, text: Words) -> None:
    heads = [text.said[name] for name in ("what", "quantity", "price", "amount")]
    _row(page, (*heads[:3], f"{heads[3]} {bill['currency']}"), bold=True)
    page.line(_LEFT, page.get_y(), _LEFT + _WIDTH, page.get_y())
    for line in bill["lines"]:
        unit = text.units.get(line["unit"], line["unit"])
        cells = (
            _described(line, text),
            f"{text.number(line['quantity'])} {unit}",
            text.number(line["unit_price"]),
            text.number(line["amount"], bill["digits"]),
        )
        _row(page, cells)
    page.line(_LEFT, page.get_y(), _LEFT + _WIDTH, page.get_y())


def _described(line: Row, text: Words) -> str:
    found = text.components.get(line["component"], line["description"])
    if line["component"] in ("adjustment", "tax"):
        for name, start in _ADDED.items():
            if line["description"].startswith(start):
                found = text.said[name].format(of=line["description"].removeprefix(start))
    of = [
        f"{text.said[name]} {line[key] + 1}"
        for name, key in (("of_period", "period"), ("of_tier", "tier"))
        if line[key] is not None
    ]
    more = [*of, *([text.said["estimated"]] if line["estimated"] else [])]
    return f"{found} ({', '.join(more)})" if more else found


def _row(page: _Page, cells: tuple[str, ...], *, bold: bool = False) -> None:
    page.set_font("roboto", style="B" if bold else "")
    # What is long takes lines of its own, and the numbers stand beside its first one.
    height = page.multi_cell(_COLUMNS[0], _LINE, cells[0], dry_run=True, output="HEIGHT", align=Align.L)
    assert isinstance(height, float)
    if page.will_page_break(height):
        page.add_page()
    top = page.get_y()
    page.multi_cell(_COLUMNS[0], _LINE, cells[0], align=Align.L, new_x=XPos.RIGHT, new_y=YPos.TOP)
    for width, cell in zip(_COLUMNS[1:], cells[1:], strict=True):
        page.cell(width, _LINE, cell, align=Align.R)
    page.set_xy(_LEFT, top + height)
    page.set_font("roboto")


def _totals(page: _Page, bill: Row, text: Words) -> None:
    shown = ["net", "tax", "total"]
    if bill["kind"] == "invoice":
        # What was settled when it became final; what came later is on no document that is sent already.
        shown += [name for name in ("paid", "open") if bill["at_final"]["paid"] != 0]
    values = {**bill, **bill["at_final"]}
    for name in shown:
        value = text.number(values[name], bill["digits"])
        _row(page, ("", "", text.said[name], value), bold=name in ("total", "open"))


def _chart(page: _Page, bill: Row, text: Words) -> None:
    days = bill["usage"]
    if page.will_page_break(_CHART_HEIGHT + 30):
        page.add_page()
    page.ln(6)
    page.line_of(text.said["usage"], bold=True)
    top, most = page.get_y() + 2, max(max(day["energy_import_wh"] for day in days), 1)
    bottom, each = top + _CHART_HEIGHT, (_WIDTH - 14) / len(days)
    page.set_font_size(6)
    for part in (Decimal(0), Decimal("0.5"), Decimal(1)):
        at = bottom - float(part) * _CHART_HEIGHT
        page.set_draw_color(210)
        page.line(_LEFT + 14, at, _LEFT + _WIDTH, at)
        page.set_xy(_LEFT, at - 1.5)
        page.cell(12, 3, text.number(Decimal(most) * part / 1000, 1), align=Align.R)
    page.set_draw_color(0)
    for n, day in enumerate(days):
        height = _CHART_HEIGHT * day["energy_import_wh"] / most
        page.set_fill_color(*(_LIGHT if day["estimated"] else _DARK))
        left = _LEFT + 14 + n * each
        page.rect(left + each * 0.1, bottom - height, each * 0.8, height, style="F")
        page.set_xy(left, bottom + 0.5)
        page.cell(each, 3, str(day["day"].day), align=Align.C)
    page.set_xy(_LEFT, bottom + 5)
    page.set_font_size(7)
    page.multi_cell(0, 4, text.said["footnote"].format(timezone=bill["timezone"]), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    page.set_font_size(9)
