"""The end of a store."""

import asyncio
from pathlib import Path

from tests.integration.edge.buffer.buffers import kept, reading, store_at


async def test_a_store_that_is_closed_twice_holds_up_nobody(tmp_path: Path) -> None:
    """E32: whoever waited for a thread that had ended waited for ever."""
    store = store_at(tmp_path)
    await store.open()
    await store.commit([reading(1)])
    async with asyncio.timeout(5):
        await store.close()
        await store.close()
    assert len(kept(tmp_path)) == 1
