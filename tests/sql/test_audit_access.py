"""D13: whoever looks at somebody else's data is in the log before they see any of it."""

from collections.abc import Iterator

import psycopg
import pytest

from cloud.audit.verify import verify
from cloud.db.errors import ForbiddenError, domain_error

ADA, BOB, OTTO, ANN = 1, 2, 3, 4
TABLES = ("meters", "meter_locations", "meter_owners", "users")
LOGGED = (
    "SELECT actor, request_id, table_name, row_key, subjects, meters, new FROM audit_logs WHERE action = 'READ'"
    " ORDER BY audit_id"
)


class People:
    """Ada and Bob with meters 1 and 2, in the region of operator Otto, who has meter 3; Ann is an admin."""

    def __init__(self, owner: psycopg.Connection, api: psycopg.Connection) -> None:
        self.owner, self.api = owner, api

    def enter(self, user: int | None) -> None:
        """The transaction that is open is this user's."""
        self.api.execute("SELECT set_config('segs.user_id', %s, true)", ["" if user is None else str(user)])
        self.api.execute("SELECT set_config('segs.actor', 'user:99', true), set_config('segs.request_id', 'r-1', true)")

    def declare(self, what: str, meters: list[int] | None = None, users: list[int] | None = None) -> bool:
        found = self.api.execute(
            "SELECT audit_access(%s, %s::integer[], %s::integer[])", [what, meters, users]
        ).fetchone()
        assert found is not None
        return bool(found[0])

    def seen(self, table: str, key: str) -> list[int]:
        return [row[0] for row in self.api.execute(f"SELECT DISTINCT {key} FROM {table} ORDER BY 1")]

    def logged(self) -> list[tuple[object, ...]]:
        return self.owner.execute(LOGGED).fetchall()


@pytest.fixture
def people(domain_db: str) -> Iterator[People]:
    with psycopg.connect(domain_db, autocommit=True) as owner, psycopg.connect(domain_db, autocommit=True) as api:
        owner.execute("INSERT INTO regions (region, name, timezone) VALUES ('north', 'North', 'UTC')")
        owner.execute(
            "INSERT INTO users (email, name, role, region, email_verified_at) VALUES"
            " ('ada@x.org', 'Ada', 'USER', 'north', now()), ('bob@x.org', 'Bob', 'USER', 'north', now()),"
            " ('otto@x.org', 'Otto', 'OPERATOR', NULL, now()), ('ann@x.org', 'Ann', 'ADMIN', NULL, now())"
        )
        owner.execute("INSERT INTO operator_regions (user_id, region) VALUES (3, 'north')")
        for user in (ADA, BOB, OTTO):
            owner.execute("INSERT INTO meters (model) VALUES ('sdm630')")
            owner.execute(
                "INSERT INTO meter_locations (meter_id, region, timezone) VALUES (%s, 'north', 'UTC')", [user]
            )
            owner.execute("SELECT meter_give('MTR-0000000' || %s, %s, '2026-01-01', now())", [str(user), user])
        api.execute("SET ROLE segs_api")
        yield People(owner, api)


@pytest.mark.parametrize("user", [OTTO, ANN])
def test_without_a_word_in_the_log_staff_see_their_own_and_nothing_else(people: People, user: int) -> None:
    own = [OTTO] if user == OTTO else []
    with people.api.transaction():
        people.enter(user)

        assert people.seen("meters", "meter_id") == own
        assert people.seen("meter_locations", "meter_id") == own
        assert people.seen("meter_owners", "meter_id") == own
        assert people.seen("users", "user_id") == [user]
    assert people.logged() == []


@pytest.mark.parametrize("user", [OTTO, ANN])
def test_what_was_named_is_seen_and_no_more_and_the_log_says_whose_it_is(people: People, user: int) -> None:
    with people.api.transaction():
        people.enter(user)
        assert people.declare("meters", meters=[ADA])

        assert set(people.seen("meters", "meter_id")) - {OTTO} == {ADA}
        assert set(people.seen("users", "user_id")) - {user} == {ADA}
    assert people.logged() == [(f"user:{user}", "r-1", "meters", "MTR-00000001", [ADA], [ADA], {})]


def test_a_user_is_looked_at_by_number(people: People) -> None:
    with people.api.transaction():
        people.enter(ANN)
        people.declare("users", users=[BOB])

        assert people.seen("users", "user_id") == [BOB, ANN]
        assert people.seen("meters", "meter_id") == []
    assert people.logged() == [("user:4", "r-1", "users", "2", [BOB], None, {})]


@pytest.mark.parametrize(("user", "meters"), [(OTTO, [1, 2, 3]), (ANN, [1, 2, 3])])
def test_a_list_is_asked_for_in_words(people: People, user: int, meters: list[int]) -> None:
    with people.api.transaction():
        people.enter(user)
        people.declare("meters")

        assert people.seen("meters", "meter_id") == meters
    assert people.logged() == [(f"user:{user}", "r-1", "meters", "*", None, None, {})]


def test_a_word_counts_for_its_transaction_and_its_caller_alone(people: People) -> None:
    with people.api.transaction():
        people.enter(OTTO)
        people.declare("meters")
        people.enter(ANN)
        assert people.seen("meters", "meter_id") == []
    with people.api.transaction():
        people.enter(OTTO)
        assert people.seen("meters", "meter_id") == [OTTO]


def test_a_word_that_is_taken_back_shows_nothing(people: People) -> None:
    with people.api.transaction():
        people.enter(ANN)
        with people.api.transaction(force_rollback=True):
            people.declare("meters")
            assert people.seen("meters", "meter_id") == [1, 2, 3]
        assert people.seen("meters", "meter_id") == []


def test_the_client_does_not_say_who_looks(people: People) -> None:
    """segs.actor, which others may set, says nothing here; the name is the session's user."""
    with people.api.transaction():
        people.enter(ANN)
        people.declare("users", users=[ADA])
    assert people.logged()[0][0] == "user:4"


def test_customers_and_ones_own_leave_no_row(people: People) -> None:
    with people.api.transaction():
        people.enter(ADA)
        assert not people.declare("meters", meters=[ADA, BOB])
        assert people.seen("meters", "meter_id") == [ADA]
        people.enter(OTTO)
        assert not people.declare("meters", meters=[OTTO])
        assert not people.declare("users", users=[OTTO])
    assert people.logged() == []


def test_nobody_looks_at_nothing(people: People) -> None:
    with people.api.transaction(force_rollback=True):
        people.enter(None)
        with pytest.raises(psycopg.Error) as refused:
            people.declare("meters")

    assert isinstance(domain_error(refused.value), ForbiddenError)


def test_the_log_itself_is_for_admins_who_are_in_it(people: People) -> None:
    with people.api.transaction():
        people.enter(ANN)
        assert people.seen("audit_logs", "table_name") == []
        people.declare("audit")
        assert "audit" in people.seen("audit_logs", "table_name")
    with people.api.transaction():
        people.enter(OTTO)
        people.declare("audit")
        assert people.seen("audit_logs", "table_name") == []


def test_a_look_is_chained_as_a_change_is(people: People) -> None:
    with people.api.transaction():
        people.enter(ANN)
        people.declare("meters", meters=[1, 2])

    assert verify(people.owner).fault is None


def test_a_meter_that_had_several_owners_in_the_span_is_a_look_at_all_of_them(people: People) -> None:
    people.owner.execute("SELECT meter_give('MTR-00000001', 2, '2026-02-01', now())")
    with people.api.transaction():
        people.enter(ANN)
        people.api.execute("SELECT audit_access('telemetry', '{1}', NULL, '{}', '[2026-01-15,2026-02-15)')")
        people.api.execute("SELECT audit_access('telemetry', '{1}', NULL, '{}', '[2026-02-15,2026-02-16)')")

    assert [row[4] for row in people.logged()] == [[ADA, BOB], [BOB]]
