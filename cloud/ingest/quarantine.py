"""What cannot be stored as it came: written down with its reason, in the batch's own form."""

import json
from collections import Counter
from datetime import datetime

import msgspec
import numpy as np
from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.ingest.columns import SetAside
from cloud.instant import moment
from contract.batch import DeviceBlock

_QUERIES = Queries("ingest")


async def keep(
    connection: AsyncConnection, parts: list[SetAside], batch_id: int, gateway_id: int, now: datetime
) -> None:
    """Write `parts` down, in one statement: each device of a batch may be unknown."""
    if not parts:
        return
    columns = {
        "device": [part.device for part in parts],
        "reason": [part.reason for part in parts],
        "readings": [part.readings for part in parts],
        "first_time": [moment(min(part.block.time_us)) for part in parts],
        "last_time": [moment(max(part.block.time_us)) for part in parts],
        "block": [json.dumps(_plain(part.block)) for part in parts],
    }
    await connection.execute(
        _QUERIES["quarantine"], {"batch_id": batch_id, "gateway_id": gateway_id, "now": now} | columns
    )


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
