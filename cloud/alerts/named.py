"""What lists are asked for by its name: a name that there is none of would find nothing, as if all were well."""

from collections.abc import Mapping

import psycopg

from cloud.alerts.errors import UnknownRule, UnknownSite
from cloud.command import there_are
from cloud.db.queries import Queries
from cloud.errors import UnknownGateway, UnknownMeter, UnknownRegion
from cloud.operator import rows

_QUERIES = Queries("api_alerts")
_UNKNOWN = {"region": UnknownRegion, "site": UnknownSite, "gateway": UnknownGateway, "rule": UnknownRule}


def require_named(domain: psycopg.Connection, **given: str | None) -> None:
    """Raises UnknownMeter, UnknownRegion, UnknownSite, UnknownGateway or UnknownRule; None asks for nothing."""
    asked: Mapping[str, str | None] = {"meter": None, **dict.fromkeys(_UNKNOWN), **given}
    [known] = rows(domain, _QUERIES["named"], asked)
    for name, value in given.items():
        if value is None or known[name]:
            continue
        if name == "meter":
            raise UnknownMeter(value)
        [names] = rows(domain, _QUERIES["names"])
        raise _UNKNOWN[name](value, there_are(names[name]))
