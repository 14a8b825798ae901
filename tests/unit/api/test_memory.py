"""What is remembered of newest values: an answer that is older than what was told meanwhile is never kept."""

from uuid import UUID

import pytest
from starlette.types import ASGIApp, Message

from cloud.api.http.etag import Tagged, enveloped
from cloud.api.measured.latest import say_one
from cloud.api.measured.memory import FEW_METERS, Key, Memory, Readable

ANSWER = Tagged(b"{}")


def key(user_id: int, *codes: str) -> Key:
    return user_id, UUID(int=user_id), UUID(int=1), say_one, codes or ("MTR-00000007",)


def readable(*meters: int) -> Readable:
    return Readable(found={f"MTR-{meter:08}": str(meter) for meter in meters}, numbers=b"", grants=b"")


def remember(memory: Memory, user_id: int, meter: int = 7, now_s: float = 0) -> None:
    entry = memory.open(key(user_id), now_s)
    memory.may_read(entry, readable(meter))
    memory.keep(entry, ANSWER, entry.turn)


def told(memory: Memory, user_id: int, now_s: float = 0) -> Tagged | None:
    entry = memory.find(key(user_id), now_s)
    return None if entry is None else entry.told


@pytest.mark.parametrize("payload", ["1", "", "no number", "²", "1" * 5000])
def test_what_is_forgotten_while_a_question_is_under_way_is_not_kept(payload: str) -> None:
    """D11."""
    for known in (False, True):
        memory = Memory()
        entry = memory.open(key(1), 0)
        if known:
            memory.may_read(entry, readable(7))
        turn = entry.turn
        memory.forget(payload)
        memory.may_read(entry, readable(7))
        memory.keep(entry, ANSWER, turn)
        assert memory.find(key(1), 0) is None
        assert memory.looked_for() == []


def test_only_the_user_who_is_named_is_forgotten() -> None:
    memory = Memory()
    remember(memory, 1)
    remember(memory, 11)
    memory.forget("1")
    assert (told(memory, 1), told(memory, 11)) == (None, ANSWER)


def test_what_may_be_read_outlasts_the_readings() -> None:
    memory = Memory()
    remember(memory, 1)
    memory.looked_for()
    memory.arrived([7])
    entry = memory.find(key(1), 0)
    assert entry is not None
    assert (entry.told, entry.readable) == (None, readable(7))


def test_an_answer_that_was_asked_for_before_readings_arrived_is_not_kept() -> None:
    memory = Memory()
    entry = memory.open(key(1), 0)
    memory.may_read(entry, readable(7))
    turn = entry.turn
    memory.looked_for()
    memory.arrived([7])
    memory.keep(entry, ANSWER, turn)
    assert told(memory, 1) is None
    memory.keep(entry, ANSWER, entry.turn)
    assert told(memory, 1) is ANSWER


def test_a_meter_that_came_while_a_look_was_under_way_counts_as_one_with_arrivals() -> None:
    """The look has not asked for it, and the next one asks for what came after this one."""
    memory = Memory()
    remember(memory, 1)
    memory.looked_for()
    remember(memory, 2, meter=8)
    memory.arrived([])
    assert (told(memory, 1), told(memory, 2)) == (ANSWER, None)


def test_nothing_outlives_its_time_and_nobody_looks_when_nothing_is_there() -> None:
    memory = Memory()
    assert not memory.used.is_set()
    remember(memory, 1, now_s=0)
    remember(memory, 2, now_s=5)
    assert memory.used.is_set()
    assert (told(memory, 1, 9.9), told(memory, 1, 10), told(memory, 2, 10)) == (ANSWER, None, ANSWER)
    # Asked anew within its time it is no younger than before.
    remember(memory, 2, now_s=14)
    assert told(memory, 2, 15) is None
    memory.purge(10)
    assert len(memory) == 1
    memory.purge(15)
    assert not memory.used.is_set()
    assert memory.looked_for() == []


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    """E30."""
    memory = Memory(most=3)
    for user_id in range(1, 6):
        remember(memory, user_id, meter=user_id)
    assert [told(memory, user_id) is not None for user_id in range(1, 6)] == [False, False, True, True, True]
    assert sorted(memory.looked_for()) == [3, 4, 5]
    many = key(9, *(f"MTR-{meter:08}" for meter in range(FEW_METERS + 1)))
    entry = memory.open(many, 0)
    memory.may_read(entry, readable(*range(FEW_METERS + 1)))
    memory.keep(entry, ANSWER, entry.turn)
    assert memory.find(many, 0) is None
    assert len(memory) == 3


def test_who_is_refused_leaves_nothing_and_takes_nobody_else_s() -> None:
    memory = Memory()
    refused = memory.open(key(1), 0)
    memory.forget("1")
    remember(memory, 1)
    memory.close(refused)
    assert told(memory, 1) is ANSWER
    memory.close(memory.open(key(2), 0))
    assert len(memory) == 1


async def test_an_answer_is_sent_as_it_would_be_made() -> None:
    answer = enveloped("So it is.", {"code": "MTR-00000007"})
    made = answer.answer(None)
    assert await sent(answer) == await sent(made)
    assert answer.answer(made.headers["etag"]).status_code == 304


async def sent(answer: ASGIApp) -> list[tuple[object, ...]]:
    messages = []

    async def send(message: Message) -> None:
        messages.append((message.get("status"), list(message.get("headers", ())), message.get("body")))

    async def receive() -> Message:
        raise AssertionError("an answer asks nothing")

    await answer({"type": "http"}, receive, send)
    return messages
