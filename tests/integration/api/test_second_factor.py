"""Codes of an app, from enrolment to giving them up."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from tests.integration.api.conftest import PASSWORD, Api, Person


class App:
    """What somebody has on the phone; no code of a step twice."""

    def __init__(self, secret: str) -> None:
        self._totp, self._step = pyotp.TOTP(secret), -1

    def code(self) -> str:
        """A code of a later step than the last one; of the next one, which is good already, if need be."""
        step = max(self._step + 1, int(time.time()) // 30)
        while step > int(time.time()) // 30 + 1:
            time.sleep(0.2)
        self._step = step
        return str(self._totp.generate_otp(step))


def enrol(api: Api, person: Person) -> tuple[App, list[str]]:
    given = api.post("/auth/totp/enrol", {"password": PASSWORD}, token=person.token).json()["data"]
    app = App(given["secret"])
    confirmed = api.post("/auth/totp/confirm", {"code": app.code()}, token=person.token)
    assert confirmed.status_code == 200
    return app, confirmed.json()["data"]["recovery_codes"]


def login(api: Api, person: Person, code: str | None = None) -> tuple[int, str]:
    api.do("DELETE FROM rate_buckets WHERE starts_with(bucket, 'login:address:')")
    body: dict[str, Any] = {"email": person.email, "password": PASSWORD}
    answer = api.post("/auth/login", body if code is None else body | {"totp": code})
    return answer.status_code, answer.json().get("type", "").rpartition(":")[2]


def test_a_login_wants_a_code_once_it_is_confirmed_and_takes_none_twice(api: Api) -> None:
    """RFC 6238, 5.2."""
    person = api.person()
    other = api.login(person.email).json()["data"]
    given = api.post("/auth/totp/enrol", {"password": PASSWORD}, token=person.token).json()["data"]
    assert parse_qs(urlsplit(given["uri"]).query)["secret"] == [given["secret"]]
    assert login(api, person) == (200, "")
    app = App(given["secret"])
    assert api.post("/auth/totp/confirm", {"code": "12345x"}, token=person.token).status_code == 401
    confirmed = api.post("/auth/totp/confirm", {"code": app.code()}, token=person.token).json()["data"]

    assert len(set(confirmed["recovery_codes"])) == 10
    assert api.get("/users/me", token=other["access_token"]).status_code == 401
    assert api.get("/users/me", token=person.token).status_code == 200
    assert login(api, person) == (401, "second-factor-required")
    code = app.code()
    with ThreadPoolExecutor(3) as pool:
        answers = sorted(pool.map(lambda _: login(api, person, code), range(3)))
    assert answers == [(200, ""), (401, "second-factor-refused"), (401, "second-factor-refused")]


def test_whether_a_password_is_right_is_not_told_by_the_second_factor(api: Api) -> None:
    """D11: a code does not help who has not the password."""
    person = api.person()
    app, _ = enrol(api, person)
    wrong = {"email": person.email, "password": "wrong password", "totp": app.code()}
    nobody = api.post("/auth/login", {**wrong, "email": "nobody@example.com"})
    assert (api.post("/auth/login", wrong).text, nobody.status_code) == (nobody.text, 401)


def test_a_recovery_code_stands_in_for_the_app_once_and_is_kept_as_a_hash(api: Api) -> None:
    """D10."""
    person = api.person()
    _, codes = enrol(api, person)
    assert login(api, person, codes[0].lower().replace("-", " ")) == (200, "")
    assert login(api, person, codes[0]) == (401, "second-factor-refused")
    assert login(api, person, codes[1]) == (200, "")
    state = api.get("/auth/totp", token=person.token).json()["data"]
    assert (state["enabled"], state["recovery_codes_left"], state["required"]) == (True, 8, False)
    kept = str(api.do("SELECT r::text, f::text FROM recovery_codes r JOIN second_factors f USING (user_id)"))
    assert not any(code in kept or code.replace("-", "") in kept for code in codes)


def test_new_recovery_codes_and_giving_it_up_want_password_and_code(api: Api) -> None:
    person = api.person()
    app, codes = enrol(api, person)
    for path in ("recovery-codes", "disable"):
        for body, status in (
            ({"password": "wrong", "totp": "123456"}, 403),
            ({"password": PASSWORD}, 401),
            ({"password": PASSWORD, "totp": "00000x"}, 401),
        ):
            assert api.post(f"/auth/totp/{path}", body, token=person.token).status_code == status
    renewed = api.post("/auth/totp/recovery-codes", {"password": PASSWORD, "totp": codes[0]}, token=person.token)
    fresh = renewed.json()["data"]["recovery_codes"]
    assert not set(fresh) & set(codes)
    assert login(api, person, codes[1])[0] == 401
    done = api.post("/auth/totp/disable", {"password": PASSWORD, "totp": app.code()}, token=person.token)

    assert done.status_code == 200
    assert login(api, person) == (200, "")
    assert api.post("/auth/totp/disable", {"password": PASSWORD}, token=person.token).status_code == 409


def test_codes_are_tried_five_times(api: Api) -> None:
    """D10: who has the password does not try out a million codes."""
    person = api.person()
    enrol(api, person)
    assert [login(api, person, "00000x")[0] for _ in range(7)] == [401] * 5 + [429] * 2
    [(told,)] = api.do(
        "SELECT count(*) FROM outbox WHERE user_id = %s AND template = 'second_factor_refused'", person.user_id
    )
    assert told == 1


@pytest.mark.parametrize("role", ["ADMIN", "OPERATOR"])
def test_a_role_that_asks_for_it_is_answered_nothing_without(api: Api, role: str) -> None:
    person, user = api.person(role, "north"), api.person()
    assert api.segs_cloud("user", "require-second-factor", role).returncode == 0
    try:
        refused = api.get("/meters", token=person.token)
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:segs:problem:second-factor-missing")
        assert api.get("/meters", token=user.token).status_code == 200
        again = api.login(person.email).json()["data"]
        assert again["user"]["second_factor"] == "missing"
        assert api.get("/users", token=again["access_token"]).status_code == 403
        app, _ = enrol(api, person)
        assert api.get("/meters", token=person.token).status_code == 200
        body = {"password": PASSWORD, "totp": app.code()}
        assert api.post("/auth/totp/disable", body, token=person.token).status_code == 403
    finally:
        assert api.segs_cloud("user", "require-second-factor", role, "--off").returncode == 0


def test_who_lost_app_and_codes_is_let_in_by_who_runs_the_system(api: Api) -> None:
    person = api.person()
    enrol(api, person)
    assert api.segs_cloud("user", "forget-second-factor", person.email).returncode == 0

    assert api.get("/users/me", token=person.token).status_code == 401
    assert login(api, person) == (200, "")
