"""Answers that come while what they answer becomes something else."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contract.notes import Note, NoteKind
from edge.buffer.store import Store
from tests.integration.edge.buffer.buffers import (
    START_US,
    Time,
    content,
    cut_all,
    opened,
    peek,
    reading,
    receipt,
    registers,
    settle_all,
    waiting,
)


@asynccontextmanager
async def _meanwhile(store: Store, work: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """`work` has begun, and its transaction has not."""
    gate = threading.Event()
    busy = asyncio.ensure_future(store._file._thread.run(gate.wait))
    await asyncio.sleep(0)
    begun = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        gate.set()
        await asyncio.gather(busy, begun)


async def test_a_receipt_for_what_is_split_meanwhile_settles_no_empty_number(tmp_path: Path) -> None:
    """E22: the number that was emptied is another batch."""
    async with opened(tmp_path) as store:
        await store.commit([reading(1), reading(2)])
        [batch] = await cut_all(store)
        async with _meanwhile(store, lambda: store.refuse(1, status=422, reason="no")):
            assert await store.settle(receipt(batch))
        await store.commit([])
        left = await waiting(store)
    assert [one.seq for one in left] == [1, 2, 3]
    assert registers(left) == [1, 2]


async def test_a_receipt_that_came_after_the_question_is_not_confirmed_by_its_answer(tmp_path: Path) -> None:
    """E16: whether the receiver still has it, it was not asked."""
    time = Time()
    async with opened(tmp_path, clock=time.clock) as store:
        await store.commit([reading(1)])
        asked_us = time.now_us
        time.forward(1)
        await settle_all(store)
        time.forward(1)
        assert await store.confirm([], keep_s=0, asked_us=asked_us) == 0
        await store.commit([])
        assert store.lowest_unconfirmed() == 1
    assert peek(tmp_path, "SELECT count(*) FROM segment") == [(1,)]


@pytest.mark.parametrize("delivered", [True, False])
async def test_notes_go_with_the_new_number_once(tmp_path: Path, delivered: bool) -> None:
    """E22: what a batch noted is not gone with its number."""
    note = Note(NoteKind.SILENT, START_US, START_US + 1_000_000, device="meter")
    async with opened(tmp_path) as store:
        await store.commit([reading(1)], notes=[note])
        await cut_all(store)
        if delivered:
            await settle_all(store)
        await store.renumber("a test")
        batches = await cut_all(store)
    assert [one for batch in batches for one in content(batch).notes] == [note]
