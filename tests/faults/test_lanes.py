"""Short questions over few connections: everybody gets their own answer, and nobody waits for ever."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import DivisionByZero, FeatureNotSupported, QueryCanceled
from psycopg_pool import TooManyRequests

from cloud.db.lane import Away, Lane
from cloud.db.lanes import Lanes
from local.servers import PostgresServer

pytestmark = pytest.mark.both_event_loops
STATEMENTS = {
    "same": "SELECT $1::text",
    "backend": "SELECT pg_backend_pid()",
    "divide": "SELECT 1 / $1::integer",
    "sleep": "SELECT pg_sleep($1::float8)::text, $1::text",
    "leave": "SELECT set_config('segs.left', $1::text, true)",
    "kept": "SELECT current_setting('segs.left', true)",
}


@asynccontextmanager
async def lane(dsn: str, **limits: Any) -> AsyncIterator[Lane]:
    made = Lane(dsn, name="lane", statements=limits.pop("statements", STATEMENTS), **limits)
    try:
        yield made
    finally:
        await made.close()


async def same(asked: Lane | Lanes, text: str) -> str:
    [(answer,)] = await asked.ask("same", (text.encode(),))
    assert answer is not None
    return answer.decode()


async def backend(asked: Lane) -> int:
    [(pid,)] = await asked.ask("backend", ())
    assert pid is not None
    return int(pid)


async def test_each_of_many_gets_its_own_answer_over_one_connection(empty_db: str) -> None:
    async with lane(empty_db, queue=1000) as one:
        texts = [str(number) for number in range(1000)]
        assert await asyncio.gather(*(same(one, text) for text in texts)) == texts
        assert len({await backend(one) for _ in range(5)}) == 1
        assert one.waiting == 0


async def test_a_refused_question_is_its_own_asker_s_alone(empty_db: str) -> None:
    async with lane(empty_db) as one:
        answers = await asyncio.gather(
            same(one, "before"), one.ask("divide", (b"0",)), same(one, "after"), return_exceptions=True
        )
        assert (answers[0], answers[2]) == ("before", "after")
        assert isinstance(answers[1], DivisionByZero)


async def test_what_a_question_sets_is_gone_for_the_next(empty_db: str) -> None:
    """D12: grants of one caller are told in a setting, and the next question is another caller's."""
    async with lane(empty_db) as one:
        told, [(kept,)] = await asyncio.gather(one.ask("leave", (b"mine",)), one.ask("kept", ()))
        assert told == [(b"mine",)]
        assert kept in (None, b"")


async def test_who_leaves_takes_nobody_s_answer_along(empty_db: str) -> None:
    async with lane(empty_db) as one:
        await same(one, "there")
        leaving = asyncio.create_task(one.ask("sleep", (b"0.1",)))
        staying = [asyncio.create_task(same(one, text)) for text in ("a", "b")]
        await asyncio.sleep(0.02)
        leaving.cancel()
        assert await asyncio.gather(*staying) == ["a", "b"]


async def test_more_than_the_queue_holds_is_turned_away_at_once(empty_db: str) -> None:
    """E24. Those that wait for a connection count as well."""
    async with lane(empty_db, queue=3) as one:
        for _ in range(2):
            answers = await asyncio.gather(*(same(one, "x") for _ in range(5)), return_exceptions=True)
            assert [type(answer) for answer in answers].count(TooManyRequests) == 2
            assert answers.count("x") == 3


async def test_long_parameters_and_answers_pass(empty_db: str) -> None:
    async with lane(empty_db) as one:
        texts = [letter * 2_000_000 for letter in "abcd"]
        assert await asyncio.gather(*(same(one, text) for text in texts)) == texts


async def test_who_waits_on_a_connection_that_dies_hears_so_and_the_next_has_another(empty_db: str) -> None:
    """C13: a service is left with dead connections."""
    async with lane(empty_db) as one:
        pid = await backend(one)
        waiting = [asyncio.create_task(one.ask("sleep", (b"5",))) for _ in range(2)]
        await asyncio.sleep(0.05)
        with psycopg.connect(empty_db) as owner:
            owner.execute("SELECT pg_terminate_backend(%s)", [pid])
        began = time.monotonic()
        lost = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(error, psycopg.OperationalError) for error in lost)
        assert all("terminating connection due to administrator command" in str(error) for error in lost)
        assert time.monotonic() - began < 2
        assert await backend(one) != pid


async def test_a_connection_that_dies_while_nobody_asks_costs_no_more_than_one_question(empty_db: str) -> None:
    async with lane(empty_db) as one:
        pid = await backend(one)
        with psycopg.connect(empty_db) as owner:
            owner.execute("SELECT pg_terminate_backend(%s)", [pid])
        await asyncio.sleep(0.1)
        assert await backend(one) != pid


async def test_a_statement_has_its_time_and_its_lane_goes_on(empty_db: str) -> None:
    async with lane(empty_db, statement_timeout_s=0.2) as one:
        pid = await backend(one)
        with pytest.raises(QueryCanceled):
            await one.ask("sleep", (b"5",))
        assert await backend(one) == pid


@pytest.mark.parametrize("answered", [False, True])
async def test_a_database_that_owes_an_answer_for_too_long_is_given_up(empty_db: str, answered: bool) -> None:
    """Its own time-outs do not hold when it hangs; an answer just before is no reason to wait twice as long."""
    async with lane(empty_db, statement_timeout_s=30, timeout_s=0.5) as one:
        await same(one, "there")
        before = asyncio.create_task(one.ask("sleep", (b"0.4",))) if answered else None
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        # By the loop's own clock, which goes by the millisecond.
        began_s = loop.time()
        with pytest.raises(psycopg.OperationalError, match="no answer within"):
            await one.ask("sleep", (b"10",))
        assert 0.5 <= round(loop.time() - began_s, 6) < (0.4 if answered else 0) + 0.8
        if before is not None:
            assert await before == [(b"", b"0.4")]
        assert await same(one, "again") == "again"


async def test_answers_that_come_one_after_the_other_are_waited_for(empty_db: str) -> None:
    async with lane(empty_db, timeout_s=0.5) as one:
        answers = await asyncio.gather(*(one.ask("sleep", (b"0.2",)) for _ in range(5)))
        assert answers == [[(b"", b"0.2")]] * 5


async def test_a_connection_that_is_old_makes_room_for_another_once_it_owes_nothing(empty_db: str) -> None:
    async with lane(empty_db, lifetime_s=0.2) as one:
        pid = await backend(one)
        slow = asyncio.create_task(one.ask("sleep", (b"0.4",)))
        await asyncio.sleep(0.3)
        assert one.old
        assert await asyncio.gather(slow, backend(one)) == [[(b"", b"0.4")], pid]
        assert await backend(one) != pid


async def test_a_function_that_was_made_anew_is_asked_by_the_next_question(empty_db: str) -> None:
    with psycopg.connect(empty_db, autocommit=True) as owner:
        owner.execute("CREATE FUNCTION told() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
        async with lane(empty_db, statements={"told": "SELECT told()"}) as one:
            assert await one.ask("told", ()) == [(b"1",)]
            owner.execute("DROP FUNCTION told()")
            owner.execute("CREATE FUNCTION told() RETURNS text LANGUAGE sql AS $$SELECT 'one'$$")
            with pytest.raises(FeatureNotSupported):
                await one.ask("told", ())
            assert await one.ask("told", ()) == [(b"one",)]


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """A DSN that takes connections and answers nothing; and whoever came."""
    came: list[asyncio.StreamWriter] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer)

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            yield f"postgresql://nobody@127.0.0.1:{port}/none?sslmode=disable&gssencmode=disable", came
        finally:
            for writer in came:
                writer.close()
                await writer.wait_closed()


async def test_all_who_wait_for_a_database_that_hangs_hear_so_in_the_same_time() -> None:
    """One attempt for all of them: in turn, the last of a hundred would wait for minutes."""
    async with silent() as (dsn, came), lane(dsn, wait_s=0.5) as one:
        began = time.monotonic()
        answers = await asyncio.gather(*(same(one, "x") for _ in range(100)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {Away}
        assert 0.5 <= time.monotonic() - began < 1.5
        assert (len(came), one.waiting) == (1, 0)


async def test_who_made_the_attempt_may_leave_and_the_others_have_their_answer(empty_db: str) -> None:
    async with lane(empty_db) as one:
        first, second = (asyncio.create_task(same(one, text)) for text in ("first", "second"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == "second"


async def test_a_database_that_was_not_there_is_found_once_it_is(pg_server: PostgresServer) -> None:
    name = f"lane_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(pg_server.dsn(), autocommit=True) as owner:
        async with lane(pg_server.dsn(name)) as one:
            for _ in range(2):
                with pytest.raises(Away, match=name):
                    await same(one, "x")
            owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            try:
                assert await same(one, "x") == "x"
            finally:
                owner.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


async def test_a_question_takes_the_lane_with_the_fewest_before_it(empty_db: str) -> None:
    async with lane(empty_db) as one, lane(empty_db) as two:
        lanes = Lanes([one, two])
        slow = asyncio.create_task(lanes.ask("sleep", (b"0.5",)))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        assert [await same(lanes, text) for text in "abc"] == ["a", "b", "c"]
        assert time.monotonic() - began < 0.4
        await slow


async def test_the_end_is_told_to_who_still_waits(empty_db: str) -> None:
    async with lane(empty_db) as one:
        await same(one, "there")
        waiting = asyncio.create_task(one.ask("sleep", (b"5",)))
        await asyncio.sleep(0.02)
    with pytest.raises(psycopg.OperationalError, match="closed"):
        await waiting


async def test_what_was_closed_makes_no_connection_any_more(empty_db: str) -> None:
    async with lane(empty_db) as one:
        await same(one, "there")
    with pytest.raises(Away, match="closed"):
        await same(one, "gone")
    assert one.waiting == 0
