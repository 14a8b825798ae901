"""How many batches may be under way, how much backlog a gateway is allowed, and when who is turned away comes again."""

import asyncio
import contextlib
from contextlib import ExitStack

import pytest

from cloud.ingest.admission import Admission
from cloud.ingest.errors import TooManyRequests, Unavailable


def _admission(**more: object) -> Admission:
    return Admission(**{"in_flight": 32, "per_gateway": 4, **more})  # type: ignore[arg-type]


def test_an_idle_receiver_allows_a_gateway_all_but_the_place_of_its_live_batch() -> None:
    assert _admission().credit(1) == 3


def test_the_free_places_are_shared_by_who_is_there() -> None:
    """E24: live data waits behind hours of backlog."""
    admission = _admission()
    allowed = []
    with ExitStack() as stack:
        for gateway in range(32):
            stack.enter_context(admission.of(gateway))
            allowed.append(admission.credit(gateway))

    assert allowed == sorted(allowed, reverse=True)
    assert (allowed[0], allowed[6], allowed[24], allowed[-1]) == (3, 2, 0, 0)
    assert min(allowed) == 0


def test_a_slow_database_gets_no_backlog_and_a_quarter_of_the_batches() -> None:
    """E24: the backlog keeps a database down that would otherwise recover."""
    admission = _admission(slow_s=2)
    for _ in range(20):
        admission.took(3)
    assert (admission.credit(1), admission.places) == (0, 8)

    with ExitStack() as stack:
        for gateway in range(8):
            stack.enter_context(admission.of(gateway))
        with pytest.raises(Unavailable), admission.of(99):
            pass

    for _ in range(20):
        admission.took(0.01)
    assert (admission.credit(1), admission.places) == (3, 32)


def test_one_slow_commit_among_many_changes_nothing() -> None:
    admission = _admission(slow_s=2)
    for _ in range(10):
        admission.took(0.02)
    admission.took(9)

    assert admission.credit(1) == 3


def test_bytes_of_all_batches_are_bounded_together() -> None:
    """E30"""
    admission = _admission(hold_bytes=100)
    with admission.of(1) as first, admission.of(2) as second:
        first.hold(60)
        with pytest.raises(Unavailable):
            second.hold(50)
        second.hold(40)
    with admission.of(3) as alone:
        alone.hold(1000)
    with admission.of(3) as after:
        after.hold(100)


def test_a_time_to_come_again_is_short_while_few_are_turned_away() -> None:
    admission = _admission()

    assert {admission.retry_after_s(2) for _ in range(50)} == {2}


def test_many_that_are_turned_away_come_again_over_a_longer_time() -> None:
    """E25: every gateway comes back at the same second."""
    admission = _admission()
    waits = [admission.turn_away("full", least_s=1).retry_after_s for _ in range(500)]
    last = [wait for wait in waits[-100:] if wait is not None]

    assert min(last) < 5
    assert max(last) > 8
    assert max(last) <= 31
    assert len(set(last)) > 5


def test_who_has_all_its_places_is_told_so_and_takes_no_other_s() -> None:
    admission = _admission(in_flight=4, per_gateway=2)
    with admission.of(1), admission.of(1):
        with pytest.raises(TooManyRequests), admission.of(1):
            pass
        with admission.of(2):
            assert admission.in_flight == 3
    assert admission.in_flight == 0


@pytest.mark.parametrize(("in_flight", "per_gateway"), [(0, 0), (4, 5), (4, 0)])
def test_limits_that_contradict_each_other_are_refused(in_flight: int, per_gateway: int) -> None:
    with pytest.raises(ValueError, match="per_gateway"):
        Admission(in_flight=in_flight, per_gateway=per_gateway)


def test_places_become_fewer_with_each_slow_commit_and_more_with_each_quick_one() -> None:
    """E24: a database that is slow gets fewer batches at a time until it is not."""
    admission = _admission(slow_s=2)
    places = []
    for commit_s in [3] * 12 + [0.01] * 20:
        admission.took(commit_s)
        places.append(admission.places)

    slow, quick = places[5:12], places[14:]
    assert places[:4] == [32] * 4
    assert slow == sorted(slow, reverse=True)
    assert len(set(slow)) == len(slow)
    assert quick == sorted(quick)
    assert (min(places) >= 8, places[-1]) == (True, 32)


def test_a_commit_is_measured_however_it_ends() -> None:
    now_s = [100.0]
    admission = _admission(slow_s=2, clock_s=lambda: now_s[0])
    for _ in range(50):
        with contextlib.suppress(TimeoutError), admission.measured():
            now_s[0] += 30
            raise TimeoutError

    assert admission.places == 8


async def test_late_batches_wait_for_one_another_and_take_a_quarter_of_the_places_at_most() -> None:
    """E24: a backlog of days, into chunks that are compressed, keeps live readings out."""
    admission = _admission(late_at_once=1)
    done, go = [], asyncio.Event()

    async def commit(number: int, *, late: bool) -> None:
        with admission.of(number) as place:
            async with place.committing(late=late):
                if late:
                    await go.wait()
                done.append(number)

    async with asyncio.TaskGroup() as group:
        late = [group.create_task(commit(number, late=True)) for number in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await commit(8, late=True)
        await commit(9, late=False)
        assert (done, [task.done() for task in late]) == ([9], [False] * 8)
        go.set()

    assert done == [9, *range(8)]


async def test_how_long_late_batches_take_says_nothing_of_live_ones() -> None:
    now_s = [100.0]
    admission = _admission(slow_s=2, clock_s=lambda: now_s[0])
    for _ in range(50):
        with admission.of(1) as place:
            async with place.committing(late=True):
                now_s[0] += 30

    assert admission.places == 32
