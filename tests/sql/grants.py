"""What a caller may read of the telemetry database, told to it for one transaction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """Nothing, unless said otherwise.

    `meters` has spans of time by meter, half-open, None for one without a beginning or an end; `regions` and `gateways`
    name whose sums and reports may be read; `everything` is for administrators.
    """

    meters: Mapping[int, Sequence[tuple[datetime | None, datetime | None]]] = field(default_factory=dict)
    regions: Sequence[str] = ()
    gateways: Sequence[int] = ()
    everything: bool = False

    def __post_init__(self) -> None:
        for spans in self.meters.values():
            for end in (end for span in spans for end in span):
                if end is not None and end.tzinfo is None:
                    raise ValueError(f"{end} has no offset: it would be another instant for another session")

    def setting(self) -> str:
        """segs.grants, as sql/telemetry/functions/access.sql reads it."""
        if self.everything:
            return '{"all": true}'
        spans = {
            str(meter_id): [[_end(begin, "-infinity"), _end(end, "infinity")] for begin, end in spans]
            for meter_id, spans in self.meters.items()
        }
        return json.dumps(spans | {"regions": list(self.regions), "gateways": list(self.gateways)})


async def grant(connection: AsyncConnection, grants: Grants) -> None:
    """Until the end of the transaction, which must have begun; ends what was granted in it before."""
    await connection.execute("SELECT set_config('segs.grants', %s, true)", [grants.setting()])


def _end(time: datetime | None, without: str) -> str:
    return without if time is None else time.isoformat()
