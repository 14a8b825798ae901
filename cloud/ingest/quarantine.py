"""What cannot be stored as it came: written down with its reason, in the batch's own form."""

from collections import Counter
from datetime import datetime

import msgspec
import numpy as np
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from cloud.db.queries import Queries
from cloud.ingest.columns import SetAside
from cloud.instant import moment
from contract.batch import DeviceBlock

_QUERIES = Queries("ingest")


async def keep(
    connection: AsyncConnection, parts: list[SetAside], batch_id: int, gateway_id: int, now: datetime
) -> None:
    """Write `parts` to the quarantine."""
    if parts:
        rows = [_quarantine_row(part, batch_id, gateway_id, now) for part in parts]
        await connection.cursor().executemany(_QUERIES["quarantine"], rows)


def _quarantine_row(part: SetAside, batch_id: int, gateway_id: int, now: datetime) -> dict[str, object]:
    return {
        "batch_id": batch_id,
        "gateway_id": gateway_id,
        "device": part.device,
        "reason": part.reason,
        "readings": part.readings,
        "first_time": moment(min(part.block.time_us)),
        "last_time": moment(max(part.block.time_us)),
        "block": Jsonb(_plain(part.block)),
        "now": now,
    }


def _plain(block: DeviceBlock) -> dict[str, object]:
    """The block as JSON can hold it: NaN and infinities become strings."""
    plain: dict[str, object] = msgspec.to_builtins(block)
    plain["values"] = {
        name: [str(number) if isinstance(number, float) and not np.isfinite(number) else number for number in column]
        for name, column in block.values.items()
    }
    return plain


def summary(parts: list[SetAside]) -> list[dict[str, object]]:
    """`parts` as ledger and receipt tell them: readings by device and reason."""
    counts: Counter[tuple[str, str]] = Counter()
    for part in parts:
        counts[part.device, part.reason] += part.readings
    return [{"device": device, "reason": why, "readings": count} for (device, why), count in sorted(counts.items())]
