"""Live batches beside the backlog: what is newest is never old, and what is old comes as fast as it may."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.answer import CREDIT
from contract.batch import Batch
from tests.integration.edge.peers import Receiver, eventually
from tests.integration.edge.sending import FIRST_US, Site, numbers, numbers_as_sent, sending

_LIVE = 1_000_000


def _groups(readings: int, size: int = 100) -> list[range]:
    return [range(at, at + size) for at in range(0, readings, size)]


def _is_live(batch: Batch) -> bool:
    return any(time_us >= FIRST_US + _LIVE * 1_000_000 for block in batch.devices for time_us in block.time_us)


def _live(receiver: Receiver) -> Iterator[tuple[int, float]]:
    """Number and time of arrival of each live reading."""
    for arrived_s, batch in receiver.arrivals:
        for block in batch.devices:
            for time_us in block.time_us:
                if time_us >= FIRST_US + _LIVE * 1_000_000:
                    yield (time_us - FIRST_US) // 1_000_000, arrived_s


async def _feed(site: Site, stop: asyncio.Event) -> dict[int, float]:
    """A reading each tenth of a second until `stop`; when each was committed."""
    committed: dict[int, float] = {}
    while not stop.is_set():
        number = _LIVE + len(committed)
        await site.put(number)
        committed[number] = time.monotonic()
        await asyncio.sleep(0.1)
    return committed


@pytest.mark.long
async def test_live_readings_stay_fresh_while_a_backlog_drains_at_the_links_speed(tmp_path: Path) -> None:
    """E24: live data waits behind hours of backlog."""
    with Receiver() as receiver:
        receiver.seconds = lambda batch: batch.readings / 10_000
        async with sending(tmp_path, receiver.url, send_interval_s=0.2, backlog=_groups(50_000)) as site:
            stop, began_s = asyncio.Event(), time.monotonic()
            feeding = asyncio.create_task(_feed(site, stop))
            await eventually(lambda: site.uplink.state.readings >= 50_000, timeout_s=30)
            took_s = time.monotonic() - began_s
            stop.set()
            committed = await feeding
            await eventually(lambda: len(receiver.stored) == 50_000 + len(committed))
        arrived = dict(_live(receiver))
        assert max(arrived[number] - committed_s for number, committed_s in committed.items()) < 1.5
        assert 5.0 < took_s < 12.0
        assert len(committed) > 30
    assert numbers_as_sent(receiver) == numbers(receiver)


async def test_what_is_newest_goes_before_the_backlog_after_an_outage(tmp_path: Path) -> None:
    """E24"""
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url, backlog=[*_groups(2_000), [_LIVE]]) as site:
            await eventually(lambda: site.uplink.state.readings == 2_001)
        _, first = receiver.arrivals[0]
        assert _is_live(first)
    assert numbers(receiver) == [*range(2_000), _LIVE]


async def test_no_more_batches_are_under_way_than_the_receiver_grants(tmp_path: Path) -> None:
    """E24: the backlog hits the server's limits."""
    with Receiver() as receiver:
        receiver.credit, receiver.seconds = 3, lambda batch: 0.1
        async with sending(tmp_path, receiver.url, max_readings=100, backlog=_groups(3_000)) as site:
            await eventually(lambda: site.uplink.state.readings == 3_000, timeout_s=20)
        assert 3 <= receiver.most_under_way <= 4
    assert numbers_as_sent(receiver) == list(range(3_000))


async def test_a_receiver_that_grants_nothing_in_words_gets_one_batch_of_backlog_at_a_time(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.seconds = lambda batch: 0.05
        async with sending(tmp_path, receiver.url, max_readings=100, backlog=_groups(2_000)) as site:
            await eventually(lambda: site.uplink.state.readings == 2_000)
        assert receiver.most_under_way <= 2


async def test_without_credit_the_backlog_waits_and_live_batches_go_on(tmp_path: Path) -> None:
    """E24"""
    with Receiver() as receiver:
        receiver.credit = 0
        async with sending(tmp_path, receiver.url, max_readings=100, backlog=_groups(1_000)) as site:
            await eventually(lambda: site.uplink.state.live.batches > 0)
            under_way = site.uplink.state.backlog.batches
            for number in range(_LIVE, _LIVE + 20):
                await site.put(number)
                await asyncio.sleep(0.05)
            await eventually(lambda: numbers(receiver)[-1:] == [_LIVE + 19])
            assert site.uplink.state.backlog.batches - under_way <= 1
            assert site.uplink.state.trouble is None
            receiver.credit = 2
            await site.put(_LIVE + 20)
            await eventually(lambda: len(receiver.stored) == 1_021)


async def test_a_busy_receiver_holds_the_backlog_for_as_long_as_it_says_and_no_live_batch(tmp_path: Path) -> None:
    """E24"""
    refused_s: list[float] = []

    def judge(batch: Batch) -> object:
        if _is_live(batch) or refused_s:
            return None
        refused_s.append(time.monotonic())
        return 503, {"Retry-After": "2", CREDIT: "0"}

    with Receiver() as receiver:
        receiver.judge = judge
        async with sending(tmp_path, receiver.url, max_readings=100, backlog=[*_groups(500), [_LIVE]]) as site:
            await eventually(lambda: bool(refused_s))
            for number in range(_LIVE + 1, _LIVE + 20):
                await site.put(number)
                await asyncio.sleep(0.05)
            await eventually(lambda: len(receiver.stored) == 520)
        backlog_s = [at_s for at_s, batch in receiver.arrivals if not _is_live(batch)]
        live_s = [at_s for at_s, batch in receiver.arrivals if _is_live(batch)]
        assert 2.0 <= min(backlog_s) - refused_s[0] < 5.0
        assert len([at_s for at_s in live_s if refused_s[0] < at_s < min(backlog_s)]) >= 5


async def test_retry_after_to_a_live_batch_holds_both_lanes(tmp_path: Path) -> None:
    """E24, E25: but for a batch of backlog that is under way already."""
    refused_s: list[float] = []

    def judge(batch: Batch) -> object:
        if not _is_live(batch) or refused_s:
            return None
        refused_s.append(time.monotonic())
        return 429, {"Retry-After": "2"}

    with Receiver() as receiver:
        receiver.judge = judge
        async with sending(tmp_path, receiver.url, max_readings=100, backlog=[*_groups(1_000), [_LIVE]]) as site:
            await eventually(lambda: site.uplink.state.readings == 1_001)
        waited_s = [at_s - refused_s[0] for at_s in receiver.requests]
        assert not [at_s for at_s in waited_s if 0.5 < at_s < 2.0]
        assert len([at_s for at_s in waited_s if at_s >= 2.0]) >= 8


async def test_a_backlog_drains_without_pauses(tmp_path: Path) -> None:
    """E24"""
    with Receiver() as receiver:
        async with sending(
            tmp_path, receiver.url, max_readings=100, send_interval_s=5, backlog=_groups(5_000, 50)
        ) as site:
            began_s = time.monotonic()
            await eventually(lambda: site.uplink.state.readings == 5000, timeout_s=20)
            assert time.monotonic() - began_s < 15
        assert numbers_as_sent(receiver) == list(range(5000))


async def test_replies_that_are_lost_in_both_lanes_double_nothing(tmp_path: Path) -> None:
    """E22, E23"""
    with Receiver() as receiver:
        receiver.credit = 4
        receiver.script.extend(["commit", "reset-after-commit"] * 6)
        async with sending(tmp_path, receiver.url, max_readings=100, backlog=_groups(2_000)) as site:
            await site.put(_LIVE)
            await eventually(lambda: site.uplink.state.readings == 2_001, timeout_s=30)
        assert numbers_as_sent(receiver) == [*range(2_000), _LIVE]
        assert len(receiver.bodies) > len(receiver.batches)


async def test_batches_of_backlog_become_small_on_a_slow_link(tmp_path: Path) -> None:
    """E24: a live batch waits for one small batch, not for one that takes the link for minutes."""
    with Receiver() as receiver:
        receiver.seconds = lambda batch: batch.readings / 500
        async with sending(tmp_path, receiver.url, timeout_s=3.0, backlog=_groups(3_000, 50)) as site:
            await eventually(lambda: site.uplink.state.readings == 3_000, timeout_s=30)
        sizes = [batch.readings for _, batch in receiver.arrivals]
        assert max(sizes[3:]) <= 1.5 * 500


@pytest.mark.long
@pytest.mark.parametrize("live", [False, True])
async def test_a_batch_that_never_gets_through_in_time_goes_in_parts(tmp_path: Path, live: bool) -> None:
    """E24, E11: cut for a fast link, and the link has become slow."""
    with Receiver() as receiver:
        receiver.seconds = lambda batch: 5.0 if batch.readings > 600 else 0.0
        first = _LIVE if live else 0
        groups = [range(at, at + 1_000) for at in (first, first + 1_000)]
        async with sending(tmp_path, receiver.url, timeout_s=0.5, backlog=[*groups, [2 * _LIVE]]) as site:
            await eventually(lambda: site.uplink.state.readings == 2_001, timeout_s=30)
        assert (site.uplink.state.refused, site.uplink.state.renumbered) == (0, 0)
    assert numbers_as_sent(receiver) == [*groups[0], *groups[1], 2 * _LIVE]


async def test_a_batch_whose_receipt_alone_never_comes_in_time_is_not_split(tmp_path: Path) -> None:
    """E23: it has arrived; its number with less in it would be another batch of that number."""
    with Receiver() as receiver:
        receiver.script.extend(["hang-after-commit"] * 4)
        async with sending(tmp_path, receiver.url, timeout_s=0.5) as site:
            await site.commit(range(100))
            await eventually(lambda: site.uplink.state.readings == 100, timeout_s=30)
        assert len(receiver.batches) == 1
        assert (site.uplink.state.refused, site.uplink.state.renumbered) == (0, 0)


async def test_at_the_stop_what_is_left_goes_live_readings_first(tmp_path: Path) -> None:
    """E18"""
    with Receiver() as receiver:
        receiver.scripts["GET"].append("hang")
        async with sending(
            tmp_path, receiver.url, timeout_s=1.0, backlog=[*_groups(3_000), [_LIVE]], rest_s=10.0
        ) as site:
            await eventually(lambda: site.uplink.state.live.failures == 1)
        assert _is_live(receiver.arrivals[0][1])
    assert numbers_as_sent(receiver) == [*range(3_000), _LIVE]


async def test_at_the_stop_the_deadline_holds_and_the_next_start_goes_on(tmp_path: Path) -> None:
    """E18, E22"""
    with Receiver() as receiver:
        receiver.credit, receiver.seconds = 0, lambda batch: 0.3
        async with sending(tmp_path, receiver.url, max_readings=100, backlog=_groups(3_000), rest_s=1.0):
            await eventually(lambda: len(receiver.arrivals) > 0)
            ended_s = time.monotonic()
        assert time.monotonic() - ended_s < 4.0
        assert 100 < len(receiver.stored) < 3_000
        receiver.credit, receiver.seconds = 4, lambda batch: 0.0
        async with sending(tmp_path, receiver.url, max_readings=100):
            await eventually(lambda: len(receiver.stored) == 3_000)
    assert numbers_as_sent(receiver) == list(range(3_000))
