"""Whether the history came out right: registers against the sums of intervals, meter by meter."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import psycopg

from cloud.db.queries import Queries
from local.seeding.curve import QUARTER
from local.seeding.folder import GATEWAY, Note
from local.seeding.plan import Meter

_QUERIES = Queries("seeding")
_MINUTES_KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Books:
    """`energy_error_wh` sums, over meters, how far the intervals are from what the registers moved by."""

    meters: int
    energy_wh: int
    energy_error_wh: int
    quarantined: int
    failed_marks: int

    @property
    def right(self) -> bool:
        return self.meters > 0 and not (self.energy_error_wh + self.quarantined + self.failed_marks)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def prove(dsn: str, note: Note, meters: list[Meter], *, now: datetime) -> Books:
    """What each meter's registers moved by against its quarter-hours, and these against its minutes, where kept."""
    end = note.begin + note.quarters * QUARTER
    # The first day of which no minute is older than minutes are kept.
    kept = (now - _MINUTES_KEPT + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    energy = error = 0
    with psycopg.connect(dsn) as telemetry:
        numbers: dict[str, int] = dict(telemetry.execute(_QUERIES["meters"], {"gateway": GATEWAY}).fetchall())
        for meter in meters:
            span = {"begin": note.begin, "end": end, "since": max(kept, note.begin)}
            row = telemetry.execute(_QUERIES["energy"], {"meter_id": numbers[meter.device], **span}).fetchone()
            assert row is not None
            imported, exported, quarters, minutes = row
            moved = meter.moved_wh
            energy += moved[0]
            error += max(abs(imported - moved[0]), abs(exported - moved[1]), abs(quarters - minutes))
        row = telemetry.execute(_QUERIES["left"], {"gateway": GATEWAY}).fetchone()
        assert row is not None
    quarantined, failed = row
    return Books(len(meters), energy, error, quarantined, failed)
