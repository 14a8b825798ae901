"""Accounts in the database: what admins do to them, how somebody leaves, requests that come again."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.sql.people import ADA, BOB, DAY, FAR, GONE, HOUR, MINUTE, NOW, OPS, ROOT, People
from tests.sql.test_domain_login import HASH, at_once, enter, h, login, register


@pytest.fixture
def people(people_db: str) -> Iterator[People]:
    found = People(people_db)
    with found.owner:
        found.owner.execute("DELETE FROM sessions")
        found.owner.execute("UPDATE users SET password_hash = %s", [HASH])
        yield found


def refusal(people: People, caller: int | None, statement: str, *parameters: object) -> str | None:
    """SQLSTATE of the refusal, None where there was none; nothing stays of it."""
    try:
        with people.owner.transaction(force_rollback=True):
            people.ask(caller, statement, *parameters)
    except psycopg.Error as error:
        return error.sqlstate
    return None


DELETE = "account_delete(%s, now())"
CHANGES: dict[str, tuple[object, ...]] = {
    "SELECT account_role(%s, 'OPERATOR', %s)": (NOW,),
    "SELECT account_suspend(%s, true, %s)": (NOW,),
    "SELECT account_suspend(%s, false, %s)": (NOW,),
    "SELECT account_delete(%s, %s)": (NOW,),
}


@pytest.mark.parametrize("statement", CHANGES)
def test_accounts_of_others_are_for_admins(people: People, statement: str) -> None:
    """D11, D13: and one who is suspended is none."""
    found = {who: refusal(people, who, statement, BOB, NOW) for who in (None, ADA, OPS, FAR, ROOT, GONE)}
    assert found == {None: "SG080", ADA: "SG080", OPS: "SG080", FAR: "SG080", ROOT: None, GONE: "SG080"}
    assert refusal(people, ROOT, statement, 999, NOW) == "SG051"


def test_no_admin_puts_out_themselves_and_the_last_one_stays(people: People) -> None:
    for statement in CHANGES:
        if "delete" not in statement:
            assert refusal(people, ROOT, statement, ROOT, NOW) == "SG081"
    assert refusal(people, ROOT, "SELECT account_delete(5, %s)", NOW) == "SG081"
    people.owner.execute("UPDATE users SET suspended_at = NULL WHERE user_id = %s", [GONE])
    assert refusal(people, ROOT, "SELECT account_delete(5, %s)", NOW) is None


@pytest.mark.parametrize("change", ["account_suspend(%s, true, now())", "account_role(%s, 'USER', now())", DELETE])
def test_two_admins_who_put_each_other_out_at_the_same_instant_leave_one(people: People, change: str) -> None:
    people.owner.execute("UPDATE users SET role = 'ADMIN' WHERE user_id IN (3, 4)")
    statement = f"SELECT s IS NOT NULL FROM set_config('segs.user_id', %s, true) AS s WHERE ({change})::text = ''"

    assert sorted(map(str, at_once(people.dsn, (statement, ("3", 4)), (statement, ("4", 3))))) == ["SG080", "True"]


def test_a_suspension_counts_at_once_and_ends_with_a_new_login(people: People) -> None:
    """D11."""
    family = login(people)
    people.ask(ROOT, "SELECT account_suspend(1, true, %s)", NOW + MINUTE)
    assert enter(people, family, at=MINUTE) is None
    people.ask(ROOT, "SELECT account_suspend(1, false, %s)", NOW + HOUR)

    assert enter(people, family, at=HOUR) is None
    assert enter(people, login(people, "new", at=HOUR), at=HOUR + MINUTE) == "USER"


def test_regions_of_an_operator_count_from_the_next_statement_on(people: People) -> None:
    people.ask(ROOT, "SELECT account_regions(3, '{south,south}', %s)", NOW)

    assert people.keys(OPS, "meters") == {3}
    assert refusal(people, ROOT, "SELECT account_regions(3, '{nowhere}', %s)", NOW) == "SG024"
    assert refusal(people, ROOT, "SELECT account_regions(1, '{south}', %s)", NOW) == "SG085"
    people.ask(ROOT, "SELECT account_regions(3, '{}', %s)", NOW)
    assert people.keys(OPS, "meters") == set()


def test_who_was_an_operator_once_looks_after_no_region_when_they_are_one_again(people: People) -> None:
    """D11, D12: what was taken away does not come back by itself."""
    for role in ("USER", "OPERATOR"):
        people.ask(ROOT, "SELECT account_role(3, %s, %s)", role, NOW)

    assert people.keys(OPS, "meters") == set()
    people.ask(ROOT, "SELECT account_regions(3, '{north}', %s)", NOW)
    assert people.keys(OPS, "meters") == {1, 2}


def test_who_leaves_is_nobody_and_their_bills_and_reads_stay(people: People) -> None:
    """D7."""
    bills = people.owner.execute("SELECT * FROM invoices ORDER BY 1").fetchall()
    lines = people.owner.execute("SELECT * FROM invoice_line_items ORDER BY 1").fetchall()
    family = login(people)
    people.owner.execute("SELECT meter_give('MTR-00000003', 1, %s, %s)", [NOW + DAY, NOW])
    people.ask(None, "SELECT otp_issue(1, 'reset_password', %s, 'x', '10 minutes', %s)", h("1"), NOW)
    # Their row was made while the tests ran, and nobody leaves before that.
    left = NOW + DAY - HOUR
    people.ask(ADA, "SELECT account_delete(1, %s)", left)

    assert people.owner.execute("SELECT * FROM invoices ORDER BY 1").fetchall() == bills
    assert people.owner.execute("SELECT * FROM invoice_line_items ORDER BY 1").fetchall() == lines
    [row] = people.owner.execute("SELECT * FROM users WHERE user_id = 1")
    personal = ("email", "name", "phone", "region", "password_hash", "email_verified_at")
    assert {row[column] for column in personal} == {None}
    assert (row["role"], row["deleted_at"]) == ("USER", left)
    owned = people.owner.execute(
        "SELECT meter_id, upper(valid) AS until FROM meter_owners WHERE user_id = 1"
    ).fetchall()
    assert [tuple(row.values()) for row in owned] == [(1, left)]
    assert enter(people, family, at=DAY) is None
    for table in ("sessions", "otp_verifications", "outbox", "user_preferences", "login_networks", "password_proofs"):
        assert people.owner.execute(f"SELECT FROM {table} WHERE user_id = 1").fetchall() == [], table


def test_nothing_says_who_has_left(people: People) -> None:
    """D7: the log neither."""
    people.owner.execute("UPDATE users SET name = 'Lovelace', phone = '+4930999999' WHERE user_id = 1")
    people.ask(None, "SELECT * FROM login_begin('ada@example.org', '192.0.2.1', %s)", NOW)
    login(people)
    people.ask(ADA, "SELECT account_delete(1, %s)", NOW + MINUTE)

    tables = people.owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    kept = " ".join(
        str(row) for table in tables for row in people.owner.execute(f"SELECT t::text FROM {table['tablename']} AS t")
    )
    [bucket] = people.owner.execute("SELECT login_bucket('ada@example.org') AS name")
    for personal in ("ada@example.org", "Lovelace", "+4930999999", bucket["name"]):
        assert personal not in kept


def test_an_address_that_was_left_registers_anew(people: People) -> None:
    """D7."""
    people.ask(ADA, "SELECT account_delete(1, %s)", NOW)
    user_id = register(people, "ada@example.org", "Another Ada")["user_id"]

    assert user_id not in (None, ADA)
    assert people.keys(user_id, "invoices") == set()
    assert people.keys(user_id, "meters") == set()


BEGIN = "SELECT outcome, sealed_secret FROM idempotency_begin(%s, %s, %s)"
KEEP = "SELECT idempotency_keep(%s, %s, %s, INTERVAL '1 day', %s)"


def again(people: People, caller: int | None, request: str, *, at: Any = MINUTE) -> tuple[str, bytes | None]:
    [row] = people.ask(caller, BEGIN, h("key"), h(request), NOW + at)
    return row["outcome"], row["sealed_secret"]


def test_a_request_that_comes_again_is_answered_again_to_who_sent_it(people: People) -> None:
    people.ask(ADA, KEEP, h("key"), h("one"), b"answer", NOW)

    assert again(people, ADA, "one") == ("answered", b"answer")
    assert again(people, ADA, "another") == ("other", None)
    assert again(people, BOB, "one") == ("new", None)
    assert again(people, None, "one") == ("new", None)
    assert again(people, ADA, "another", at=DAY) == ("new", None)


def test_while_a_request_is_under_way_its_key_says_so(people: People) -> None:
    with psycopg.connect(people.dsn) as first:
        first.execute("SET ROLE segs_api")
        first.execute("SELECT set_config('segs.user_id', '1', true)")
        assert first.execute(BEGIN, [h("key"), h("one"), NOW]).fetchone() == ("new", None)
        assert again(people, ADA, "one") == ("under_way", None)
        first.execute(KEEP, [h("key"), h("one"), b"answer", NOW])
        assert again(people, ADA, "one") == ("under_way", None)
    assert again(people, ADA, "one") == ("answered", b"answer")


def test_a_request_that_failed_left_nothing_and_is_done_anew(people: People) -> None:
    with psycopg.connect(people.dsn) as first:
        first.execute(BEGIN, [h("key"), h("one"), NOW])
        first.execute(KEEP, [h("key"), h("one"), b"answer", NOW])
        first.rollback()
    assert again(people, None, "one") == ("new", None)


def test_answers_that_are_too_old_go(people: People) -> None:
    for n in range(30):
        people.ask(ADA, KEEP, h(f"old {n}"), h("one"), b"answer", NOW - 2 * DAY)
    people.ask(ADA, KEEP, h("key"), h("one"), b"answer", NOW)
    assert people.owner.execute("SELECT count(*) AS n FROM idempotency_keys").fetchone() == {"n": 11}


def test_at_the_same_instant_a_key_is_new_once(people: People) -> None:
    call = ("SELECT outcome || pg_sleep(0.3) FROM idempotency_begin(%s, %s, %s)", (h("key"), h("one"), NOW))
    assert sorted(at_once(people.dsn, *[call] * 4)) == ["new", "under_way", "under_way", "under_way"]
