"""Answers that are held back."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from cloud.api.http.pace import Pace, even


async def _after(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "found"


async def _refused() -> str:
    raise LookupError


@pytest.mark.parametrize(("work_s", "least_s"), [(0, 0.1), (0.03, 0.1), (0.11, 0.2)])
def test_an_answer_comes_after_whole_steps_however_long_it_was_looked_for(work_s: float, least_s: float) -> None:
    """D11: that somebody was found, and written to, is not to be seen from the clock."""
    began = time.monotonic()
    assert asyncio.run(Pace(even=True).step(_after(work_s))) == "found"
    assert time.monotonic() - began >= least_s


def test_a_refusal_takes_as_long_as_an_answer() -> None:
    began = time.monotonic()
    with pytest.raises(LookupError):
        asyncio.run(Pace(even=True).step(_refused()))
    assert time.monotonic() - began >= 0.1


def test_an_endpoint_that_is_even_waits_by_the_pace_of_the_parts() -> None:
    held: list[float] = []

    class Noted(Pace):
        async def hold(self, seconds: float) -> None:
            held.append(seconds)

    @even
    async def endpoint(*, parts: object) -> str:
        return "found"

    for evenly in (True, False):
        assert asyncio.run(endpoint(parts=SimpleNamespace(pace=Noted(even=evenly)))) == "found"
    assert [0 < seconds <= 0.1 for seconds in held] == [True]


def test_no_more_are_held_than_may_be_and_each_gives_its_place_back() -> None:
    async def hold() -> list[int]:
        pace, heard = Pace(even=True, most=2), []

        async def held(number: int) -> None:
            await pace.hold(0.05)
            heard.append(number)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(held(number)) for number in range(4)]
            await asyncio.sleep(0)
            tasks[0].cancel()
        await held(4)
        await asyncio.gather(held(5), held(6), held(7))
        return heard

    assert asyncio.run(hold()) == [2, 3, 1, 4, 7, 5, 6]
