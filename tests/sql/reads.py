"""The API's role in a telemetry database, told what its caller may see."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psycopg
import pytest

from tests.sql.conftest import Telemetry

ALL = {"all": True}


class Reader:
    """Asks as segs_api. Each question is a transaction of its own, with its own grants."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def rows(self, grants: Mapping[str, object] | None, query: str, *parameters: object) -> list[dict[str, Any]]:
        """Rows of `query`, None granting nothing and saying nothing at all."""
        connection = self._telemetry.connection
        with connection.transaction():
            connection.execute("SET LOCAL ROLE segs_api")
            if grants is not None:
                connection.execute("SELECT set_config('segs.grants', %s, true)", [json.dumps(grants)])
            return connection.execute(query, parameters).fetchall()

    def refused(self, grants: Mapping[str, object] | None, query: str, *parameters: object) -> str | None:
        """SQLSTATE of what the database says."""
        with pytest.raises(psycopg.Error) as refusal:
            self.rows(grants, query, *parameters)
        return refusal.value.sqlstate


def owned(meter_id: int, *spans: tuple[datetime | str, datetime | str]) -> dict[str, object]:
    """Grants of a meter for some spans."""
    return {str(meter_id): [[end if isinstance(end, str) else end.isoformat() for end in span] for span in spans]}
