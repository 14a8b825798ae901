"""From a registration to a session and its end, as functions of the domain database."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.sql.people import ADA, DAY, HOUR, MINUTE, NOW, People

SECOND = timedelta(seconds=1)
HASH = "$argon2id$v=19$m=1,t=1,p=1$x$y"


@pytest.fixture
def people(people_db: str) -> Iterator[People]:
    found = People(people_db)
    with found.owner:
        found.owner.execute("DELETE FROM sessions")
        found.owner.execute("UPDATE users SET password_hash = %s", [HASH])
        yield found


def h(text: str) -> bytes:
    return sha256(text.encode()).digest()


def register(people: People, email: str = "eve@example.org", name: str = "Eve") -> dict[str, Any]:
    [row] = people.ask(None, "SELECT * FROM user_register(%s, %s, NULL, 'north', %s)", email, name, NOW)
    return row


def issue(
    people: People, user_id: int, code: str, *, at: timedelta = timedelta(), purpose: str = "verify_email"
) -> bool:
    statement = "SELECT otp_issue(%s, %s, %s, 'sealed', INTERVAL '10 minutes', %s)"
    return bool(people.one(None, statement, user_id, purpose, h(code), NOW + at))


def check(people: People, user_id: int, code: str, *, at: timedelta = SECOND, purpose: str = "verify_email") -> str:
    return str(people.one(None, "SELECT otp_check(%s, %s, %s, %s)", user_id, purpose, h(code), NOW + at))


def login(
    people: People, token: str = "first", *, user_id: int = ADA, at: timedelta = timedelta(), old: str = HASH
) -> UUID:
    statement = "SELECT family_id FROM login_succeed(%s, %s, %s, 'test', '192.0.2.1', INTERVAL '30 days', %s)"
    return people.one(None, statement, user_id, old, h(token), NOW + at)


ROTATE = "SELECT outcome, role FROM session_rotate(%s, %s, 'test', NULL, INTERVAL '30 days', INTERVAL '30 seconds', %s)"


def rotate(people: People, token: str, successor: str, *, at: timedelta = MINUTE) -> str:
    [row] = people.ask(None, ROTATE, h(token), h(successor), NOW + at)
    return str(row["outcome"])


def enter(people: People, family: UUID, *, user_id: int = ADA, at: timedelta = MINUTE, jti: UUID | None = None) -> Any:
    statement = "SELECT role FROM session_enter(%s, %s, %s, 'r-1', %s)"
    return people.one(None, statement, user_id, family, jti or uuid4(), NOW + at)


def at_once(dsn: str, *calls: tuple[str, tuple[object, ...]]) -> list[Any]:
    """What each statement gives when all are sent at the same instant, each on a connection of its own; of a refusal
    its SQLSTATE."""
    ready, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(n: int) -> None:
        statement, parameters = calls[n]
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            connection.execute("SET ROLE segs_api")
            ready.wait()
            try:
                results[n] = next(iter(connection.execute(statement, parameters).fetchone().values()))
            except psycopg.Error as error:
                results[n] = error.sqlstate
                connection.rollback()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_registration_has_no_password_no_meter_and_no_role(people: People) -> None:
    """D10, D12."""
    user_id = register(people)["user_id"]

    [row] = people.owner.execute(
        "SELECT role, password_hash, email_verified_at FROM users WHERE user_id = %s", [user_id]
    )
    assert tuple(row.values()) == ("USER", None, None)
    assert people.owner.execute("SELECT FROM meter_owners WHERE user_id = %s", [user_id]).fetchall() == []


def test_the_answer_for_a_known_address_looks_like_that_for_a_new_one(people: People) -> None:
    """D11: the owner of the address is told, once an hour, and nobody else."""
    new = register(people)
    known = [register(people, "Ada@Example.org") for _ in range(2)]

    assert new["user_id"] == new["shown_id"]
    assert [row["user_id"] for row in known] == [None, None]
    assert [row["shown_id"] for row in known] == [new["shown_id"] + 1, new["shown_id"] + 2]
    assert people.owner.execute("SELECT user_id, template FROM outbox").fetchall() == [
        {"user_id": ADA, "template": "already_registered"}
    ]


HOME, WORK, ELSEWHERE = "192.0.2.1", "2001:db8:0:1::7", "198.51.100.9"
DETAILS = '{"name": "%s", "phone": null, "region": "%s"}'


def send(people: People, user_id: int, code: str, address: str | None, **given: Any) -> bool:
    """A code asked for from an address; `name` and `region` are a registration's."""
    details = DETAILS % (given["name"], given.get("region", "south")) if "name" in given else None
    statement = "SELECT otp_issue(%s, %s, %s, 'sealed', INTERVAL '10 minutes', %s, %s, %s::jsonb)"
    purpose, at = given.get("purpose", "verify_email"), given.get("at", timedelta())
    return bool(people.one(None, statement, user_id, purpose, h(code), NOW + at, address, details))


def guess(people: People, user_id: int, code: str, address: str | None, **given: Any) -> str:
    statement = "SELECT otp_check(%s, %s, %s, %s, %s)"
    purpose, at = given.get("purpose", "verify_email"), given.get("at", SECOND)
    return str(people.one(None, statement, user_id, purpose, h(code), NOW + at, address))


def verify(people: People, user_id: int, code: str, address: str | None) -> str:
    statement = "SELECT email_verified(%s, %s, %s, INTERVAL '15 minutes', %s, %s)"
    return str(people.one(None, statement, user_id, h(code), h(f"proof {code}"), NOW + SECOND, address))


def test_who_registers_somebody_s_address_again_voids_no_code_and_changes_no_name(people: People) -> None:
    """D10: whoever knows an address must not keep its owner out."""
    user_id = register(people, name="Eve")["user_id"]
    send(people, user_id, "111111", HOME, name="Eve")
    assert register(people, name="Mallory")["user_id"] == user_id
    send(people, user_id, "222222", ELSEWHERE, name="Mallory")

    assert verify(people, user_id, "111111", HOME) == "right"
    assert people.owner.execute(
        "SELECT name, u.region, p.timezone FROM users u JOIN user_preferences p USING (user_id) WHERE user_id = %s",
        [user_id],
    ).fetchone() == {"name": "Eve", "region": "south", "timezone": "UTC"}
    assert verify(people, user_id, "222222", HOME) == "wrong"


def test_each_code_proves_the_details_that_it_was_sent_for(people: People) -> None:
    user_id = register(people, name="Mallory")["user_id"]
    send(people, user_id, "111111", ELSEWHERE, name="Mallory")
    register(people, name="Eve")
    send(people, user_id, "222222", HOME, name="Eve")
    send(people, user_id, "333333", HOME)

    assert verify(people, user_id, "222222", HOME) == "wrong"  # superseded, from the same network
    assert verify(people, user_id, "333333", WORK) == "right"  # typed on the way
    [row] = people.owner.execute("SELECT name FROM users WHERE user_id = %s", [user_id])
    assert row["name"] == "Eve"


def test_strangers_use_up_neither_codes_nor_guesses_of_who_asked(people: People) -> None:
    """D10."""
    user_id = register(people)["user_id"]
    send(people, user_id, "111111", HOME)
    for n in range(7):
        send(people, user_id, f"{n}", ELSEWHERE, at=n * SECOND)
        guess(people, user_id, "999999", ELSEWHERE, at=(n + 1) * SECOND)
        guess(people, user_id, "999999", "203.0.113.5", at=(n + 1) * SECOND)

    assert guess(people, user_id, "999999", "203.0.113.5", at=MINUTE) == "locked"
    assert guess(people, user_id, "111111", HOME, at=MINUTE) == "right"
    assert send(people, user_id, "222222", HOME, at=2 * MINUTE) is True
    [row] = people.owner.execute("SELECT max(attempts) AS own, sum(strange_attempts) AS strange FROM otp_verifications")
    assert (row["own"] <= 5, row["strange"]) == (True, 5)


def test_one_address_is_sent_ten_codes_in_an_hour_whoever_asks(people: People) -> None:
    sent = [send(people, ADA, str(n), f"192.0.2.{n}", at=n * SECOND) for n in range(12)]
    assert sent == [True] * 10 + [False] * 2


def test_strangers_in_many_networks_use_up_no_code_of_who_is_known(people: People) -> None:
    """D10, D11: nobody is kept from their own mailbox."""
    login(people, at=-DAY)  # from 192.0.2.1
    for n in range(12):
        send(people, ADA, str(n), f"198.51.100.{n}", at=n * SECOND, purpose="reset_password")

    assert send(people, ADA, "333333", "198.51.100.99", at=MINUTE, purpose="reset_password") is False
    own = [send(people, ADA, str(n), "192.0.2.1", at=MINUTE, purpose="reset_password") for n in range(6)]
    assert own == [True] * 5 + [False]


def test_a_code_that_resets_a_password_is_good_only_where_it_was_asked_for(people: People) -> None:
    """D10: whoever guesses from elsewhere guesses at nothing."""
    send(people, ADA, "111111", WORK, purpose="reset_password")

    assert guess(people, ADA, "111111", ELSEWHERE, purpose="reset_password") == "wrong"
    assert guess(people, ADA, "111111", "2001:db8:0:1:ffff::1", purpose="reset_password") == "right"


def test_who_has_a_password_proves_the_address_by_no_registration_code(people: People) -> None:
    """D10: it would be a way around reset-password."""
    subject = "SELECT otp_subject(%s, %s)"
    user_id = register(people)["user_id"]
    asked = [
        people.one(None, subject, email, purpose)
        for email in ("ada@example.org", "eve@example.org", "gone@example.org", "none@example.org")
        for purpose in ("verify_email", "reset_password")
    ]
    assert asked == [None, ADA, user_id, None, None, None, None, None]
    send(people, ADA, "111111", HOME)
    assert verify(people, ADA, "111111", HOME) == "wrong"


def test_a_code_is_good_once_and_for_its_purpose(people: People) -> None:
    """D10."""
    issue(people, ADA, "111111", purpose="reset_password")

    assert check(people, ADA, "111111") == "wrong"
    assert check(people, ADA, "111111", purpose="reset_password") == "right"
    assert check(people, ADA, "111111", purpose="reset_password") == "wrong"


def test_a_code_is_too_old_after_ten_minutes(people: People) -> None:
    issue(people, ADA, "111111")
    assert check(people, ADA, "111111", at=10 * MINUTE) == "wrong"


def test_wrong_guesses_are_counted_across_codes(people: People) -> None:
    """D10: a new code is no new chance."""
    for n in range(5):
        if n in (0, 3):
            issue(people, ADA, "111111", at=n * SECOND)
        assert check(people, ADA, "999999", at=(n + 1) * SECOND) == "wrong"
    issue(people, ADA, "222222", at=MINUTE)

    assert check(people, ADA, "222222", at=2 * MINUTE) == "locked"
    issue(people, ADA, "333333", at=HOUR + MINUTE)
    assert check(people, ADA, "333333", at=HOUR + 2 * MINUTE) == "right"


def test_guesses_at_the_same_instant_are_counted_one_by_one(people: People) -> None:
    """D10."""
    issue(people, ADA, "111111")
    guess = "SELECT otp_check(%s, 'verify_email', %s, %s)"
    codes = ["000001", "000002", "000003", "000004", "000005", "000006", "000007", "111111"]

    outcomes = at_once(people.dsn, *((guess, (ADA, h(code), NOW + SECOND)) for code in codes))

    [row] = people.owner.execute("SELECT attempts FROM otp_verifications")
    # The right one comes at any place among them: after it no code is open, after five wrong ones none is right.
    assert outcomes.count("right") == 1 or (row["attempts"] == 5 and outcomes.count("locked") == 3)
    assert row["attempts"] <= 5


def test_of_two_codes_at_the_same_instant_one_is_open(people: People) -> None:
    make = "SELECT otp_issue(%s, 'verify_email', %s, 'x', INTERVAL '10 minutes', %s)"
    assert at_once(people.dsn, *((make, (ADA, h(code), NOW)) for code in ("1", "2", "3"))) == [True] * 3

    opened = "SELECT count(*) AS open FROM otp_verifications WHERE used_at IS NULL AND superseded_at IS NULL"
    assert people.owner.execute(opened).fetchone() == {"open": 1}


def test_nobody_is_sent_more_than_five_codes_in_an_hour(people: People) -> None:
    assert [issue(people, ADA, str(n), at=n * SECOND) for n in range(7)] == [True] * 5 + [False] * 2
    assert issue(people, ADA, "8", at=HOUR + SECOND) is True


def test_a_password_is_set_with_a_proof_and_a_proof_is_good_once(people: People) -> None:
    """D10: without one, nobody sets a password."""
    user_id = register(people)["user_id"]
    issue(people, user_id, "111111")
    verify = "SELECT email_verified(%s, %s, %s, INTERVAL '15 minutes', %s)"
    set_password = "SELECT password_set(%s, %s, %s)"
    assert people.one(None, verify, user_id, h("000000"), h("stolen"), NOW + SECOND) == "wrong"
    assert people.one(None, verify, user_id, h("111111"), h("proof"), NOW + SECOND) == "right"

    for token, at in (("stolen", MINUTE), ("", MINUTE), ("proof", 16 * MINUTE)):
        with pytest.raises(psycopg.Error) as refused:
            people.one(None, set_password, h(token), HASH, NOW + at)
        assert refused.value.sqlstate == "SG052"
    assert people.one(None, set_password, h("proof"), HASH, NOW + MINUTE) == user_id
    with pytest.raises(psycopg.Error) as used:
        people.one(None, set_password, h("proof"), HASH, NOW + MINUTE)
    assert used.value.sqlstate == "SG052"


def begin(people: People, email: str, address: str, *, at: timedelta = timedelta()) -> dict[str, Any]:
    [row] = people.ask(None, "SELECT * FROM login_begin(%s, %s, %s)", email, address, NOW + at)
    return row


def test_logins_are_limited_by_account_alike_for_accounts_that_are_none(people: People) -> None:
    """D11."""
    for email in ("ada@example.org", "nobody@example.org"):
        waits = [begin(people, email, f"192.0.2.{n}")["retry_after_s"] for n in range(12)]
        assert waits == [0] * 10 + [60, 60]
    assert begin(people, "ada@example.org", "192.0.2.77", at=MINUTE)["retry_after_s"] == 0


def test_one_address_uses_up_its_own_attempts_and_nobody_else_s(people: People) -> None:
    waits = [begin(people, f"x{n}@example.org", "192.0.2.1")["retry_after_s"] for n in range(40)]

    assert waits == [0] * 30 + [2] * 10
    assert begin(people, "x50@example.org", "192.0.2.2")["retry_after_s"] == 0


def test_strangers_who_guess_lock_out_strangers_and_not_the_owner(people: People) -> None:
    """D11: a locked account is no way to keep its owner out."""
    login(people, at=-DAY)  # from 192.0.2.1
    for n in range(20):
        begin(people, "ada@example.org", f"198.51.100.{n}")

    assert begin(people, "ada@example.org", "198.51.100.99")["retry_after_s"] == 60
    assert [begin(people, "ada@example.org", "192.0.2.1")["retry_after_s"] for _ in range(11)] == [0] * 10 + [60]
    login(people, "second")
    assert begin(people, "ada@example.org", "192.0.2.1")["retry_after_s"] == 0
    assert begin(people, "ada@example.org", "198.51.100.99")["retry_after_s"] == 60
    # Where they were last 90 days ago they are a stranger.
    [row] = people.owner.execute("SELECT login_place(1, '192.0.2.1', %s) AS place", [NOW + 91 * DAY])
    assert row["place"] == ""


def test_who_resets_the_password_logs_in_however_many_guess(people: People) -> None:
    for n in range(20):
        begin(people, "ada@example.org", f"198.51.100.{n}")
    send(people, ADA, "111111", WORK, purpose="reset_password")
    reset = "SELECT outcome FROM password_reset(1, %s, %s, %s, %s)"

    assert people.one(None, reset, h("999999"), HASH + "n", WORK, NOW + SECOND) == "wrong"
    assert people.one(None, reset, h("111111"), HASH + "n", WORK, NOW + SECOND) == "right"
    assert begin(people, "ada@example.org", WORK, at=SECOND)["password_hash"] == HASH + "n"


def test_a_customer_with_many_ipv6_addresses_is_one_network(people: People) -> None:
    waits = [begin(people, f"x{n}@example.org", f"2001:db8:0:1::{n:x}")["retry_after_s"] for n in range(32)]
    assert waits == [0] * 30 + [2] * 2
    assert begin(people, "x@example.org", "2001:db8:0:2::1")["retry_after_s"] == 0


def test_a_right_password_ends_the_count_of_attempts(people: People) -> None:
    for n in range(9):
        begin(people, "ada@example.org", f"192.0.2.{n}")
    login(people)

    assert [begin(people, "ada@example.org", f"192.0.2.{n}")["retry_after_s"] for n in range(9)] == [0] * 9


def test_tokens_of_a_bucket_are_taken_once_each_at_the_same_instant(people: People) -> None:
    take = ("SELECT allowed FROM take_token('x', 3, 1, %s)", (NOW,))
    assert sorted(at_once(people.dsn, *[take] * 8)) == [False] * 5 + [True] * 3


def test_a_password_that_changed_meanwhile_opens_no_session(people: People) -> None:
    assert login(people, old=HASH + "x") is None


def test_a_session_says_role_and_regions_of_now(people: People) -> None:
    family = login(people, user_id=3)
    [row] = people.ask(
        None, "SELECT role, regions FROM session_enter(3, %s, %s, 'r-1', %s)", family, uuid4(), NOW + MINUTE
    )
    assert row == {"role": "OPERATOR", "regions": ["north"]}


def test_a_session_is_for_its_user_alone(people: People) -> None:
    family = login(people)
    assert enter(people, family) == "USER"
    assert enter(people, family, user_id=5) is None


ENDS: dict[str, Callable[[People, UUID], object]] = {
    "suspended": lambda people, _: people.owner.execute("SELECT user_suspend(1, %s)", [NOW + SECOND]),
    "another role": lambda people, _: people.owner.execute("SELECT user_role_set(1, 'OPERATOR', %s)", [NOW + SECOND]),
    "logged out": lambda people, family: people.ask(
        ADA, "SELECT session_end(%s, %s, %s, %s)", family, uuid4(), NOW + HOUR, NOW + SECOND
    ),
    "revoked by its owner": lambda people, family: people.ask(
        ADA, "SELECT session_revoke(%s, %s)", family, NOW + SECOND
    ),
    "deleted": lambda people, _: people.ask(ADA, "SELECT account_delete(1, %s)", NOW + SECOND),
    "logged out everywhere": lambda people, _: people.ask(ADA, "SELECT sessions_end(%s)", NOW + SECOND),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_session_that_ended_is_over_at_once(people: People, end: str) -> None:
    """D11: not when the token expires."""
    family = login(people)
    ENDS[end](people, family)

    assert enter(people, family) is None
    assert rotate(people, "first", "second") == "refused"


def test_a_token_on_the_blacklist_is_refused_while_its_session_stands(people: People) -> None:
    family, jti = login(people), uuid4()
    blacklist = (
        "INSERT INTO token_blacklist (jti, user_id, reason, created_at, expires_at) VALUES (%s, 1, 'revoked', %s, %s)"
    )
    people.owner.execute(blacklist, [jti, NOW, NOW + HOUR])

    assert enter(people, family, jti=jti) is None
    assert enter(people, family) == "USER"


def test_a_logout_ends_one_session_and_nobody_else_s(people: People) -> None:
    one, two, other = login(people), login(people, "other"), login(people, "bob's", user_id=2)
    for family in (one, other):
        people.ask(ADA, "SELECT session_end(%s, %s, %s, %s)", family, uuid4(), NOW + HOUR, NOW + SECOND)

    assert [enter(people, one), enter(people, two), enter(people, other, user_id=2)] == [None, "USER", "USER"]


def test_who_logs_in_after_ending_all_sessions_is_in(people: People) -> None:
    login(people)
    people.ask(ADA, "SELECT sessions_end(%s)", NOW + SECOND)

    assert enter(people, login(people, "later", at=SECOND)) == "USER"


def test_a_refresh_token_is_exchanged_once(people: People) -> None:
    family = login(people)

    assert rotate(people, "first", "second") == "rotated"
    assert rotate(people, "second", "third", at=2 * MINUTE) == "rotated"
    assert enter(people, family, at=3 * MINUTE) == "USER"


def test_a_lost_answer_is_asked_for_again(people: People) -> None:
    login(people)
    rotate(people, "first", "second")

    assert rotate(people, "first", "second", at=MINUTE + 29 * SECOND) == "rotated"
    assert people.owner.execute("SELECT count(*) AS n FROM sessions").fetchone() == {"n": 2}


@pytest.mark.parametrize(
    ("successor", "at"), [("second", 2 * MINUTE), ("guessed", MINUTE + SECOND)], ids=["late", "of somebody else"]
)
def test_a_token_that_comes_again_ends_the_session(people: People, successor: str, at: timedelta) -> None:
    """D10: whoever stole it, and whoever it was stolen from, log in anew."""
    family = login(people)
    rotate(people, "first", "second")

    assert rotate(people, "first", successor, at=at) == "reused"
    assert enter(people, family, at=3 * MINUTE) is None
    assert rotate(people, "second", "third", at=3 * MINUTE) == "refused"


def test_a_token_whose_successor_was_used_is_not_exchanged_again(people: People) -> None:
    login(people)
    rotate(people, "first", "second")
    rotate(people, "second", "third", at=MINUTE + SECOND)

    assert rotate(people, "first", "second", at=MINUTE + 2 * SECOND) == "reused"


def test_a_token_that_expired_or_never_was_is_refused(people: People) -> None:
    login(people)
    assert rotate(people, "first", "second", at=30 * DAY) == "refused"
    assert rotate(people, "never", "second") == "refused"


def test_of_exchanges_at_the_same_instant_one_makes_the_successor(people: People) -> None:
    login(people)
    call = (ROTATE, (h("first"), h("second"), NOW + MINUTE))

    assert at_once(people.dsn, *[call] * 6) == ["rotated"] * 6
    assert people.owner.execute("SELECT count(*) AS n FROM sessions").fetchone() == {"n": 2}


def test_no_exchange_slips_past_a_reuse_at_the_same_instant(people: People) -> None:
    for n in range(8):
        first, second = f"first {n}", f"second {n}"
        family = login(people, first)
        rotate(people, first, second)
        reuse, exchange = at_once(
            people.dsn,
            (ROTATE, (h(first), h("guessed"), NOW + 2 * MINUTE)),
            (ROTATE, (h(second), h(f"third {n}"), NOW + 2 * MINUTE)),
        )
        assert (reuse, exchange) in {("reused", "rotated"), ("reused", "refused")}
        assert enter(people, family, at=3 * MINUTE) is None


def test_no_exchange_slips_past_the_end_of_all_sessions(people: People) -> None:
    for n in range(8):
        family = login(people, f"first {n}", at=n * HOUR)
        end = "SELECT sessions_end(%s) FROM set_config('segs.user_id', '1', true)"
        at_once(
            people.dsn,
            (end, (NOW + n * HOUR + MINUTE,)),
            (ROTATE, (h(f"first {n}"), h(f"second {n}"), NOW + n * HOUR + MINUTE)),
        )
        assert enter(people, family, at=n * HOUR + 2 * MINUTE) is None
        assert rotate(people, f"second {n}", "third", at=n * HOUR + 2 * MINUTE) == "refused"


def test_nothing_that_is_secret_is_kept_in_plain_text(people: People) -> None:
    """D10."""
    user_id = register(people)["user_id"]
    issue(people, user_id, "424242")
    login(people, "refresh-token-of-ada")
    tables = people.owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    kept = " ".join(
        str(row) for table in tables for row in people.owner.execute(f"SELECT t::text FROM {table['tablename']} AS t")
    )
    assert "424242" not in kept
    assert "refresh-token-of-ada" not in kept
