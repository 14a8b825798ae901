"""What waits in memory while the disk refuses: its order, and the count of what had to go."""

import asyncio
from pathlib import Path

from edge.buffer.queue import BufferQueue
from edge.clock import Clock
from tests.integration.edge.buffer.buffers import kept, losses, reading, store_at


def _queue(folder: Path, *, memory_readings: int) -> BufferQueue:
    return BufferQueue(
        store=store_at(folder),
        clock=Clock(),
        commit_interval_s=1.0,
        commit_readings=2,
        memory_readings=memory_readings,
    )


async def test_what_a_disk_refused_is_committed_in_its_order_afterwards(tmp_path: Path) -> None:
    """E22: ids ascend with time, or the newest is not what the live lane takes."""
    queue = _queue(tmp_path, memory_readings=100)
    for number in range(5):
        queue.put([reading(number)], offset_us=0)
    assert not await queue.commit()  # The store is not open yet.
    assert await queue.commit()
    assert [one.time_us for one in kept(tmp_path)] == [reading(number).time_us for number in range(5)]
    await queue.store.close()


async def test_what_overflows_while_a_loss_is_written_is_counted_too(tmp_path: Path) -> None:
    """E20"""
    queue = _queue(tmp_path, memory_readings=2)
    await queue.store.open()
    for number in range(4):
        queue.put([reading(number)], offset_us=0)
    committing = asyncio.ensure_future(queue.commit())
    await asyncio.sleep(0)
    for number in range(4, 9):
        queue.put([reading(number)], offset_us=0)
    await committing
    await queue.commit()
    counted = sum(int(str(readings)) for _, readings, _, _ in losses(tmp_path))
    assert (len(kept(tmp_path)) + counted, queue.state.overflowed) == (9, counted)
    await queue.store.close()
