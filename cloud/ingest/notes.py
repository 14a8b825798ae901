"""What a batch notes besides readings: stored with it, in its transaction."""

from collections.abc import Sequence

from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.instant import moment
from contract.notes import Note

_QUERIES = Queries("ingest")


async def keep(connection: AsyncConnection, notes: Sequence[Note], batch_id: int, gateway_id: int) -> None:
    """Write `notes`. One whose ends are swapped or beyond what a timestamp holds is kept too, mended."""
    if not notes:
        return
    columns = {
        "kind": [note.kind.value for note in notes],
        "device": [note.device for note in notes],
        "first_time": [moment(min(note.first_us, note.last_us)) for note in notes],
        "last_time": [moment(max(note.first_us, note.last_us)) for note in notes],
        "readings": [note.readings for note in notes],
        "detail": [storable(note.detail) for note in notes],
    }
    await connection.execute(_QUERIES["notes"], {"batch_id": batch_id, "gateway_id": gateway_id} | columns)


def storable(text: str) -> str:
    """`text` without NUL, the one character that PostgreSQL does not take."""
    return text.replace("\0", "")
