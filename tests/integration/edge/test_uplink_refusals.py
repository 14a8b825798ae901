"""What the receiver will not have: found, set aside, and in nobody's way."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from contract.batch import Batch
from tests.integration.edge.peers import Receiver, eventually
from tests.integration.edge.sending import numbers, numbers_as_sent, sending


def _holds(number: int, batch: Batch) -> bool:
    return any(number in block.values["energy_import_wh"] for block in batch.devices)


def _refused(folder: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "buffer.sqlite")) as db:
        return db.execute("SELECT device, status, reason FROM refused").fetchall()


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_reading_that_is_refused_is_set_aside_with_the_reason_and_the_next_goes(
    tmp_path: Path, status: int
) -> None:
    """E26"""
    with Receiver() as receiver:
        receiver.judge = lambda batch: status if _holds(1, batch) else None
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1)
            await eventually(lambda: site.uplink.state.refused_readings == 1)
            await site.put_singly(receiver, 2)
            assert _refused(tmp_path) == [("meter", status, f"scripted {status}; $.devices[0]")]
            assert (site.uplink.state.trouble, (await site.store.backlog()).readings) == (None, 0)
        assert numbers(receiver) == [2]


@pytest.mark.parametrize("live", [True, False])
async def test_a_poisoned_reading_among_thousands_is_found_in_few_requests_and_all_others_arrive(
    tmp_path: Path, live: bool
) -> None:
    """E26: one point the server refuses holds or drops its whole batch."""
    with Receiver() as receiver:
        receiver.judge = lambda batch: 422 if _holds(3_210, batch) else None
        groups = [range(at, at + 1_000) for at in range(0, 5_000, 1_000)]
        backlog = [] if live else [*groups, [9_999]]
        async with sending(tmp_path, receiver.url, backlog=backlog) as site:
            if live:
                await site.commit(range(5_000))
            await eventually(lambda: site.uplink.state.refused_readings == 1, timeout_s=30)
            await eventually(lambda: len(receiver.stored) == (4_999 if live else 5_000), timeout_s=30)
            assert len(_refused(tmp_path)) == 1
        assert site.uplink.state.refused <= 14
        assert len(receiver.requests) <= 50
    assert numbers_as_sent(receiver) == [n for n in (*range(5_000), *([] if live else [9_999])) if n != 3_210]


async def test_poisoned_readings_of_several_batches_do_not_hold_each_other_up(tmp_path: Path) -> None:
    """E26"""
    poisoned = {7, 450, 451, 999}
    with Receiver() as receiver:
        receiver.credit = 4
        receiver.judge = lambda batch: 422 if any(_holds(number, batch) for number in poisoned) else None
        backlog = [range(at, at + 50) for at in range(0, 1_000, 50)]
        async with sending(tmp_path, receiver.url, max_readings=100, backlog=backlog) as site:
            await site.put(5_000)
            await eventually(lambda: len(receiver.stored) == 997, timeout_s=30)
            await eventually(lambda: site.uplink.state.refused_readings == 4)
    assert numbers_as_sent(receiver) == [*(n for n in range(1_000) if n not in poisoned), 5_000]


async def test_every_number_arrives_although_what_was_in_it_was_refused(tmp_path: Path) -> None:
    """A gap in the numbers would look like a batch that is missing."""
    with Receiver() as receiver:
        receiver.judge = lambda batch: 422 if _holds(3, batch) else None
        async with sending(tmp_path, receiver.url) as site:
            await site.put(*range(6))
            await eventually(lambda: len(receiver.stored) == 5)
            await eventually(lambda: site.store.next_seq - 1 == len(receiver.batches))
        assert sorted(seq for _, seq in receiver.batches) == list(range(1, site.store.next_seq))


async def test_batches_that_are_too_large_are_sent_in_parts(tmp_path: Path) -> None:
    """E24: the backlog hits the server's limits."""
    with Receiver() as receiver:
        receiver.judge = lambda batch: 413 if batch.readings > 300 else None
        backlog = [range(at, at + 100) for at in range(0, 5_000, 100)]
        async with sending(tmp_path, receiver.url, backlog=backlog) as site:
            await site.put(9_999)
            await eventually(lambda: len(receiver.stored) == 5_001, timeout_s=30)
            assert _refused(tmp_path) == []
        assert site.uplink.state.refused <= 12
    assert numbers_as_sent(receiver) == [*range(5_000), 9_999]


async def test_a_number_that_is_refused_even_when_empty_is_kept_and_said(tmp_path: Path) -> None:
    """E11: a receiver that refuses everything gets no flood of ever smaller batches."""
    with Receiver() as receiver:
        receiver.judge = lambda batch: 422
        async with sending(tmp_path, receiver.url) as site:
            await site.put(1)
            await eventually(lambda: "has no readings any more" in (site.uplink.state.trouble or ""))
            assert len(receiver.requests) <= 3


async def test_a_batch_at_which_the_receiver_fails_holds_up_no_other_and_is_kept(tmp_path: Path) -> None:
    """E26, E16: 500 says nothing of the batch; but others go through, so it steps aside, and comes again."""
    with Receiver() as receiver:
        receiver.judge = lambda batch: 500 if _holds(7, batch) else None
        async with sending(tmp_path, receiver.url) as site:
            await site.put(7)
            await eventually(lambda: site.uplink.state.live.failures >= 3, timeout_s=20)
            await site.put_singly(receiver, 8, 9)
            assert (site.uplink.state.refused, (await site.store.backlog()).readings) == (0, 1)
            receiver.judge = lambda batch: None
            await eventually(lambda: numbers(receiver) == [7, 8, 9], timeout_s=20)
    assert numbers_as_sent(receiver) == [7, 8, 9]


async def test_of_a_batch_at_which_the_receiver_fails_all_but_the_reading_at_fault_arrive(tmp_path: Path) -> None:
    """E26"""
    with Receiver() as receiver:
        receiver.judge = lambda batch: 500 if _holds(5, batch) else None
        async with sending(tmp_path, receiver.url, backlog=[range(8), [100]]) as site:
            live = iter(range(101, 1_000))
            async with asyncio.timeout(50):
                while len([number for number in numbers(receiver) if number < 8]) < 7:
                    await site.put_singly(receiver, next(live))
                    await asyncio.sleep(0.1)
            assert (site.uplink.state.refused, (await site.store.backlog()).readings) == (0, 1)
    assert numbers_as_sent(receiver) == [0, 1, 2, 3, 4, 6, 7, *range(100, next(live))]


@pytest.mark.long
async def test_a_receiver_that_fails_at_everything_splits_nothing_and_gets_no_flood(tmp_path: Path) -> None:
    """E11, E25"""
    with Receiver() as receiver:
        receiver.judge = lambda batch: 500
        backlog = [range(at, at + 100) for at in range(0, 1_000, 100)]
        async with sending(tmp_path, receiver.url, max_readings=100, backlog=backlog) as site:
            for number in range(5_000, 5_050):
                await site.put(number)
                await asyncio.sleep(0.1)
            assert len(receiver.requests) <= 20
            assert site.store.next_seq <= 12
            assert (await site.store.backlog()).readings == 1_050
            receiver.judge = lambda batch: None
            await eventually(lambda: len(receiver.stored) == 1_050, timeout_s=40)
    assert numbers_as_sent(receiver) == [*range(1_000), *range(5_000, 5_050)]
