"""Second factors in the database: which codes were taken, who has to have one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.sql.people import ADA, BOB, HOUR, MINUTE, NOW, OPS, ROOT, People
from tests.sql.test_domain_login import HASH, SECOND, at_once, enter, h, login, rotate

LOGIN = "SELECT outcome FROM login_succeed(1, %s, %s, 'test', '192.0.2.1', INTERVAL '30 days', %s, %s, %s)"
STEP = 59_000_000


@pytest.fixture
def people(people_db: str) -> Iterator[People]:
    found = People(people_db)
    with found.owner:
        found.owner.execute("DELETE FROM sessions")
        found.owner.execute("UPDATE users SET password_hash = %s", [HASH])
        yield found


def switch_on(people: People, user_id: int = ADA, family: Any = None) -> None:
    people.ask(user_id, "SELECT second_factor_enrol('sealed', %s)", NOW)
    confirm = "SELECT second_factor_confirm('sealed', %s, %s, %s, %s)"
    codes = [h(f"code {n}") for n in range(10)]
    people.ask(user_id, confirm, STEP, codes, family or uuid4(), NOW)


def log_in(people: People, token: str, step: int | None = None, code: str | None = None, at: Any = MINUTE) -> str:
    recovery = None if code is None and step is None else h(code or "no recovery code")
    return str(people.one(None, LOGIN, HASH, h(token), NOW + at, step, recovery))


def test_a_login_wants_a_code_of_a_later_step_each_time(people: People) -> None:
    """RFC 6238, 5.2: a code that was seen over somebody's shoulder is good no longer."""
    assert log_in(people, "before") == "opened"
    switch_on(people)

    assert log_in(people, "a") == "second_factor_missing"
    assert log_in(people, "b", STEP) == "second_factor_wrong"  # the one that confirmed
    assert log_in(people, "c", STEP + 2) == "opened"
    assert log_in(people, "d", STEP + 2) == "second_factor_wrong"
    assert log_in(people, "e", STEP + 1) == "second_factor_wrong"
    assert log_in(people, "f", STEP + 3) == "opened"


def test_of_the_same_code_at_the_same_instant_one_is_taken(people: People) -> None:
    switch_on(people)
    for n, given in enumerate([(STEP + 1, h("no recovery code")), (None, h("code 3"))]):
        calls = [(LOGIN, (HASH, h(f"{n} {k}"), NOW + n * HOUR + MINUTE, *given)) for k in range(4)]
        outcomes = at_once(people.dsn, *calls)
        assert sorted(outcomes) == ["opened"] + ["second_factor_wrong"] * 3


def test_a_recovery_code_is_good_once_and_new_ones_void_the_old(people: People) -> None:
    switch_on(people)
    assert log_in(people, "a", code="code 1") == "opened"
    assert log_in(people, "b", code="code 1") == "second_factor_wrong"
    people.ask(ADA, "SELECT recovery_codes_renew(%s)", [h("new")])

    assert log_in(people, "c", code="code 2") == "second_factor_wrong"
    assert log_in(people, "d", code="new") == "opened"


def test_codes_are_tried_five_times_and_the_owner_is_told(people: People) -> None:
    switch_on(people)
    outcomes = [log_in(people, f"{n}", code="guessed") for n in range(7)]

    assert outcomes == ["second_factor_wrong"] * 5 + ["second_factor_limited"] * 2
    told = people.owner.execute("SELECT template FROM outbox WHERE user_id = 1 ORDER BY 1").fetchall()
    assert [row["template"] for row in told] == ["second_factor_on", "second_factor_refused"]
    assert log_in(people, "later", STEP + 100, at=21 * MINUTE) == "opened"


def test_confirming_ends_the_sessions_that_gave_no_code(people: People) -> None:
    mine, other = login(people, "mine"), login(people, "other")
    switch_on(people, family=mine)

    assert [enter(people, mine), enter(people, other)] == ["USER", None]
    assert rotate(people, "other", "next") == "refused"


def test_confirming_ends_the_session_of_a_login_without_a_code_that_is_under_way(people: People) -> None:
    """D11."""
    people.ask(ADA, "SELECT second_factor_enrol('sealed', %s)", NOW)
    confirm = "SELECT second_factor_confirm('sealed', %s, '{}', %s, %s) FROM set_config('segs.user_id', '1', true)"
    with psycopg.connect(people.dsn) as late:
        opened = late.execute(LOGIN, (HASH, h("late"), NOW + SECOND, None, None)).fetchone()
        with ThreadPoolExecutor(1) as pool:
            confirming = pool.submit(at_once, people.dsn, (confirm, (STEP, uuid4(), NOW + SECOND)))
            with pytest.raises(TimeoutError):
                confirming.result(0.5)
            late.commit()
            assert (opened, confirming.result(10)) == (("opened",), [""])
    assert rotate(people, "late", "next") == "refused"


@pytest.mark.parametrize("statement", ["SELECT second_factor_enrol('x', now())", "SELECT recovery_codes_renew('{}')"])
def test_what_makes_no_sense_is_refused(people: People, statement: str) -> None:
    if "enrol" in statement:
        switch_on(people)
    with pytest.raises(psycopg.Error) as refused:
        people.ask(ADA, statement)
    assert refused.value.sqlstate == ("SG082" if "enrol" in statement else "SG083")


def test_a_secret_that_was_replaced_is_not_confirmed(people: People) -> None:
    people.ask(ADA, "SELECT second_factor_enrol('one', %s)", NOW)
    people.ask(ADA, "SELECT second_factor_enrol('two', %s)", NOW)
    with pytest.raises(psycopg.Error) as refused:
        people.ask(ADA, "SELECT second_factor_confirm('one', 1, '{}', %s, %s)", uuid4(), NOW)
    assert refused.value.sqlstate == "SG083"


def test_a_role_that_asks_for_one_gets_nowhere_without_it(people: People) -> None:
    families = {user_id: login(people, f"{user_id}", user_id=user_id) for user_id in (ADA, OPS, ROOT)}
    people.owner.execute("SELECT second_factor_require('OPERATOR', true, %s)", [NOW])
    people.owner.execute("SELECT second_factor_require('ADMIN', true, %s)", [NOW])
    assert [enter(people, family, user_id=user_id) for user_id, family in families.items()] == ["USER", None, None]

    limited = "SELECT role, second_factor_missing FROM session_enter(%s, %s, %s, 'r', %s, true)"
    [row] = people.ask(None, limited, ROOT, families[ROOT], uuid4(), NOW + MINUTE)
    assert row == {"role": "ADMIN", "second_factor_missing": True}
    switch_on(people, ROOT, families[ROOT])
    assert enter(people, families[ROOT], user_id=ROOT) == "ADMIN"
    with pytest.raises(psycopg.Error) as refused:
        people.ask(ROOT, "SELECT second_factor_disable(%s)", NOW)
    assert refused.value.sqlstate == "SG084"
    people.owner.execute("SELECT second_factor_require('OPERATOR', false, %s)", [NOW])
    assert enter(people, families[OPS], user_id=OPS) == "OPERATOR"


def test_what_protects_an_account_is_in_the_audit_log_and_no_secret_of_it(people: People) -> None:
    """D13."""
    switch_on(people)
    log_in(people, "a", STEP + 1)
    people.ask(ADA, "SELECT second_factor_disable(%s)", NOW)

    rows = people.owner.execute(
        "SELECT action, coalesce(new, old) ->> 'sealed_secret' AS secret FROM audit_logs"
        " WHERE table_name = 'second_factors' ORDER BY audit_id"
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        ("INSERT", "[withheld]"),
        ("UPDATE", "[withheld]"),
        ("DELETE", "[withheld]"),
    ]


def test_another_password_ends_other_sessions_and_a_login_with_the_old_one_that_is_under_way(people: People) -> None:
    """D11."""
    change = "SELECT password_change(%s, %s, %s, %s) FROM set_config('segs.user_id', '1', true)"
    for n in range(6):
        old, new, at = HASH + str(n), HASH + str(n + 1), n * HOUR
        people.owner.execute("UPDATE users SET password_hash = %s WHERE user_id = 1", [old])
        mine, other = login(people, f"mine {n}", old=old, at=at), login(people, f"other {n}", old=old, at=at)
        token = h(f"late {n}")
        opened = "SELECT family_id FROM login_succeed(1, %s, %s, 'x', NULL, INTERVAL '1 day', %s)"
        rotating = (
            "SELECT outcome FROM session_rotate(%s, %s, 'x', NULL, INTERVAL '1 day', INTERVAL '30 seconds', %s)",
            (h(f"other {n}"), h(f"next {n}"), NOW + at + MINUTE),
        )
        done, late, _ = at_once(
            people.dsn,
            (change, (old, new, mine, NOW + at + MINUTE)),
            (opened, (old, token, NOW + at + MINUTE)),
            rotating,
        )
        assert done is True
        after = at + 2 * MINUTE
        assert enter(people, mine, at=after) == "USER"
        assert enter(people, other, at=after) is None
        assert late is None or enter(people, late, at=after) is None
        assert people.one(ADA, "SELECT password_change(%s, %s, %s, %s)", old, new, mine, NOW + after) is False


def test_nobody_ends_a_session_of_somebody_else(people: People) -> None:
    family = login(people)
    assert people.one(BOB, "SELECT session_revoke(%s, %s)", family, NOW + SECOND) is False
    assert enter(people, family) == "USER"


def test_a_password_is_hashed_anew_by_the_login_that_gave_it(people: People) -> None:
    statement = "SELECT outcome FROM login_succeed(1, %s, %s, 'x', NULL, INTERVAL '1 day', %s, NULL, NULL, %s)"
    assert people.one(None, statement, HASH, h("a"), NOW, HASH + "new") == "opened"
    assert people.one(None, statement, HASH, h("b"), NOW, HASH + "other") == "refused"
    assert people.owner.execute("SELECT password_hash FROM users WHERE user_id = 1").fetchone() == {
        "password_hash": HASH + "new"
    }
