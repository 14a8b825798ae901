"""One bill, whole."""

import psycopg

from cloud.db.queries import Queries
from cloud.errors import CloudError
from cloud.operator import Row, rows

_QUERIES = Queries("billing")


class UnknownBill(CloudError):
    """No bill has this number, and no draft this id."""

    def __init__(self, bill: str) -> None:
        super().__init__(f"there is no bill {bill}; segs-cloud billing list names them")
        self.bill = bill


def find(domain: psycopg.Connection, bill: str) -> int:
    """The bill of this number, or the draft of this id. Raises UnknownBill."""
    found = rows(domain, _QUERIES["find"], {"bill": bill})
    if not found:
        raise UnknownBill(bill)
    return int(found[0]["invoice_id"])


def whole(domain: psycopg.Connection, invoice_id: int) -> Row:
    """A bill with `lines`, `usage` of its days, `payments`, `disputes` and `credit_notes`; `at_final` is what
    was `paid` and `open` when it became final."""
    named = {"invoice": invoice_id}
    [bill] = rows(domain, _QUERIES["bill"], named)
    parts = {
        "lines": "lines",
        "usage": "usage",
        "payments": "payments",
        "disputes": "disputes",
        "credit_notes": "notes",
    }
    [settled] = rows(domain, _QUERIES["at_final"], named)
    return {
        **bill,
        "at_final": settled,
        **{part: rows(domain, _QUERIES[query], named) for part, query in parts.items()},
    }
