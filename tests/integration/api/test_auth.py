"""From registration to logout, over HTTP."""

import os
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.servers import free_port
from tests.integration.api.conftest import PASSWORD, Api, await_ready, start

NEW = "a quiet river at dawn"


def register(api: Api, email: str) -> dict[str, Any]:
    body = {"name": "Eve Example", "email": email, "phone": "+4930123456", "region": "north"}
    answer = api.post("/auth/register", body)
    assert answer.status_code == 201
    return dict(answer.json())


def test_who_registers_proves_the_address_sets_a_password_and_logs_in(api: Api) -> None:
    """D10."""
    told = register(api, "Eve@Example.com")
    assert told["success"] is True
    assert set(told["data"]["user"]) == {"user_id", "email", "name", "email_verified"}
    assert (told["data"]["user"]["email"], told["data"]["user"]["email_verified"]) == ("eve@example.com", False)
    assert len(told["data"]["otp"]) == 6

    verified = api.post("/auth/verify-email", {"email": "eve@example.com", "otp": told["data"]["otp"]})
    token = verified.json()["data"]["set_password_token"]
    assert api.post("/auth/set-password", {"token": token, "password": NEW}).status_code == 200
    logged_in = api.login("eve@example.com", NEW).json()["data"]

    assert (logged_in["token_type"], logged_in["expires_in"], logged_in["user"]["role"]) == ("Bearer", 900, "USER")
    me = api.get("/users/me", token=logged_in["access_token"]).json()["data"]
    assert (me["name"], me["phone"], me["region"], me["email_verified"]) == (
        "Eve Example",
        "+4930123456",
        "north",
        True,
    )
    assert api.get("/meters", token=logged_in["access_token"]).json()["data"] == []


def test_no_password_is_set_without_proof(api: Api) -> None:
    """D10."""
    told = register(api, "mallory@example.com")
    for token in ("x", "00000000", told["data"]["otp"]):
        answer = api.post("/auth/set-password", {"token": token, "password": NEW})
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:segs:problem:forbidden")
    code = told["data"]["otp"]
    for wrong in ("123456", "000000"):
        if wrong != code:
            assert api.post("/auth/verify-email", {"email": "mallory@example.com", "otp": wrong}).status_code == 403
    assert api.login("mallory@example.com", NEW).status_code == 401


def test_five_wrong_codes_are_all_that_a_new_code_does_not_forgive(api: Api) -> None:
    """D10."""
    code = register(api, "guess@example.com")["data"]["otp"]
    wrong = "000000" if code != "000000" else "000001"
    guess = {"email": "guess@example.com", "otp": wrong}
    refused = [api.post("/auth/verify-email", guess) for _ in range(6)]
    fresh = api.post("/auth/resend-otp", {"email": "guess@example.com"}).json()["data"]["otp"]
    right = api.post("/auth/verify-email", {"email": "guess@example.com", "otp": fresh})

    # Whether it is locked is not told: an account that does not exist never is.
    assert len({(answer.status_code, answer.text) for answer in [*refused, right]}) == 1
    assert right.json()["type"] == "urn:segs:problem:code-refused"


def test_nothing_tells_whether_an_address_has_an_account(api: Api) -> None:
    """D11."""
    known, unknown = api.person().email, "nobody@example.com"
    api.do("UPDATE users SET suspended_at = now() WHERE email = 'bob@example.org'")
    logins = [api.login(email, "wrong password") for email in (known, unknown, "bob@example.org")]
    assert len({(answer.status_code, answer.text) for answer in logins}) == 1
    asked = [api.post("/auth/verify-email", {"email": email, "otp": "123456"}) for email in (known, unknown)]
    assert len({(answer.status_code, answer.text) for answer in asked}) == 1
    resent = [api.post("/auth/resend-otp", {"email": email}).json() for email in (known, unknown)]
    assert resent[0]["message"] == resent[1]["message"]
    assert set(resent[0]["data"]) == set(resent[1]["data"])
    registered = [register(api, email) for email in (known, "fresh@example.com")]
    assert registered[0].keys() == registered[1].keys()
    ids = [told["data"]["user"]["user_id"] for told in registered]
    assert ids[1] == ids[0] + 1
    assert api.login(known).status_code == 200


def test_a_login_of_nobody_costs_what_a_wrong_password_costs(api: Api) -> None:
    """D11: the time tells nothing either."""
    known = api.person().email

    def median_s(email: str) -> float:
        times = []
        for _ in range(7):
            api.do("DELETE FROM rate_buckets")
            began = time.perf_counter()
            assert api.post("/auth/login", {"email": email, "password": "wrong password"}).status_code == 401
            times.append(time.perf_counter() - began)
        return sorted(times)[3]

    assert median_s("nobody@example.com") > 0.5 * median_s(known)


@pytest.mark.parametrize("end", ["suspend", "role", "logout", "logout-all"])
def test_a_session_is_over_with_the_next_request(api: Api, end: str) -> None:
    """D11: not when the access token expires."""
    person = api.person()
    assert api.get("/users/me", token=person.token).status_code == 200
    if end == "suspend":
        assert api.segs_cloud("user", "suspend", person.email).returncode == 0
    elif end == "role":
        assert api.segs_cloud("user", "role", person.email, "OPERATOR").returncode == 0
    else:
        assert api.post(f"/auth/{end}", token=person.token).status_code == 200

    refused = api.get("/users/me", token=person.token)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    refresh = {"refresh_token": person.tokens["refresh_token"]}
    assert api.post("/auth/refresh-token", refresh).status_code == 401
    assert api.login(person.email).status_code == (401 if end == "suspend" else 200)


def test_a_refresh_token_goes_on_and_its_lost_answer_is_given_again(api: Api) -> None:
    person = api.person()
    old = {"refresh_token": person.tokens["refresh_token"]}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: api.post("/auth/refresh-token", old), range(4)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["data"]["refresh_token"] for answer in answers}) == 1
    new = answers[0].json()["data"]
    assert api.get("/users/me", token=new["access_token"]).status_code == 200


def test_a_refresh_token_that_comes_again_later_ends_the_session(api: Api) -> None:
    """D10."""
    person = api.person()
    old = {"refresh_token": person.tokens["refresh_token"]}
    new = api.post("/auth/refresh-token", old).json()["data"]
    api.do("UPDATE sessions SET created_at = created_at - INTERVAL '1 hour' WHERE user_id = %s", person.user_id)
    api.do("UPDATE sessions SET rotated_at = rotated_at - INTERVAL '31 s' WHERE user_id = %s", person.user_id)
    api.do("UPDATE users SET tokens_valid_from = '-infinity' WHERE user_id = %s", person.user_id)

    assert api.post("/auth/refresh-token", old).status_code == 401
    assert api.post("/auth/refresh-token", {"refresh_token": new["refresh_token"]}).status_code == 401
    assert api.get("/users/me", token=new["access_token"]).status_code == 401


def test_failed_logins_from_one_address_are_limited_and_told_when_to_come_again(api: Api) -> None:
    person = api.person()
    answers = [api.post("/auth/login", {"email": person.email, "password": "wrong password"}) for _ in range(12)]
    limited = answers[-1]

    assert limited.status_code == 429
    assert 0 < int(limited.headers["retry-after"]) <= 60
    assert answers[0].status_code == 401


@pytest.mark.parametrize("token", ["x", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "é"])
def test_what_is_no_token_of_ours_opens_nothing(api: Api, token: str) -> None:
    """D10."""
    answer = api.client.get("/api/v1/users/me", headers={"authorization": f"Bearer {token}".encode()})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_a_weak_password_is_refused_and_no_secret_comes_back(api: Api) -> None:
    """D10."""
    told = register(api, "weak@example.com")
    verified = api.post("/auth/verify-email", {"email": "weak@example.com", "otp": told["data"]["otp"]})
    token = verified.json()["data"]["set_password_token"]
    answer = api.post("/auth/set-password", {"token": token, "password": "short"})
    malformed = api.post("/auth/login", {"email": "not an address", "password": {"a": "hunter2hunter2"}})

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:segs:problem:weak-password")
    assert malformed.status_code == 422
    assert "hunter2" not in malformed.text
    assert {fault["where"] for fault in malformed.json()["errors"]} == {"body.email", "body.password"}
    assert api.post("/auth/set-password", {"token": token, "password": NEW}).status_code == 200


def test_the_log_says_who_logged_in_and_of_a_refusal_nobody(api: Api) -> None:
    person = api.person()
    asked = {
        "right": ("/auth/login", {"email": person.email, "password": PASSWORD}),
        "wrong": ("/auth/login", {"email": person.email, "password": "wrong password"}),
        "refresh": ("/auth/refresh-token", {"refresh_token": person.tokens["refresh_token"]}),
        "made-up": ("/auth/refresh-token", {"refresh_token": "made up"}),
    }
    names = {which: uuid.uuid4().hex for which in asked}
    for which, (path, body) in asked.items():
        api.ask("POST", path, body, headers={"x-request-id": names[which]})

    assert {which: line["user_id"] for which, name in names.items() for line in api.logged(name)} == {
        "right": person.user_id,
        "wrong": None,
        "refresh": person.user_id,
        "made-up": None,
    }


def test_nothing_secret_is_in_the_log(api: Api) -> None:
    """D10."""
    person = api.person()
    body = {"refresh_token": person.tokens["refresh_token"]}
    api.ask("POST", "/auth/refresh-token", body, headers={"x-request-id": "nothing-secret"})

    assert [line["route"] for line in api.logged("nothing-secret")] == ["/api/v1/auth/refresh-token"]
    log = api.log.read_text()
    for secret in (PASSWORD, person.token, person.tokens["refresh_token"]):
        assert secret not in log


def test_production_shows_no_code_and_does_not_start_without_keys(api: Api) -> None:
    """D10: no default secret."""
    bare = {"SEGS_ENV": "production", "SEGS_KEYS": "", "SEGS_HOME": ""}
    command = [sys.executable, "-m", "cloud", "api", "--port", str(free_port())]
    refused = subprocess.run(
        command, env=os.environ | api.environment | bare, capture_output=True, text=True, timeout=30, check=False
    )
    assert refused.returncode == 2
    assert "SEGS_KEYS" in refused.stderr


def test_production_answers_about_an_address_after_the_same_time_whether_it_has_an_account(
    api: Api, tmp_path: Path
) -> None:
    """D10, D11: a code that is written down for somebody takes milliseconds, and these do not show."""
    known = api.person().email
    port, log = free_port(), tmp_path / "log"
    process = start(api.environment | {"SEGS_ENV": "production"}, log, port)
    try:
        await_ready(f"http://127.0.0.1:{port}", process, log)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1/auth", trust_env=False, timeout=20) as client:
            for path, given in (
                ("forgot-password", {}),
                ("resend-otp", {}),
                ("verify-email", {"otp": "000000"}),
                ("reset-password", {"otp": "000000", "password": NEW}),
                ("register", {"name": "N"}),
            ):
                answers = [client.post(path, json={"email": email, **given}) for email in (known, "nobody@example.org")]
                assert answers[0].status_code == answers[1].status_code
                # However long the work took: what is more than whole steps is the way there and back.
                for answer in answers:
                    assert answer.elapsed.total_seconds() >= 0.1
                    assert "otp" not in answer.json().get("data", {})
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0


def test_the_api_does_not_start_as_the_owner(api: Api) -> None:
    """Row-level security does not hold for one who owns the tables."""
    owner = {"SEGS_DOMAIN_DSN": api.domain, "SEGS_TELEMETRY_DSN": api.telemetry}
    command = [sys.executable, "-m", "cloud", "api", "--port", str(free_port())]
    refused = subprocess.run(
        command, env=os.environ | api.environment | owner, capture_output=True, text=True, timeout=30, check=False
    )
    assert refused.returncode == 2
    assert "segs_api" in refused.stderr


def test_the_first_admin_comes_from_the_command_line_and_logs_in(api: Api) -> None:
    """D17: the seed admin can log in."""
    made = api.segs_cloud(
        "user", "create", "--role", "ADMIN", "--email", "boss@example.net", "--name", "Root", typed=NEW + "\n"
    )
    again = api.segs_cloud(
        "user", "create", "--role", "ADMIN", "--email", "boss@example.net", "--name", "Root", typed=NEW + "\n"
    )
    assert (made.returncode, again.returncode) == (0, 1)
    assert NEW not in made.stdout + made.stderr
    assert api.login("boss@example.net", NEW).json()["data"]["user"]["role"] == "ADMIN"


def test_one_address_registers_and_asks_for_codes_as_often_as_people_do_and_no_more(api: Api) -> None:
    """D10, D11: neither mailboxes nor codes are tried out by the thousand."""
    api.do("DELETE FROM rate_buckets")
    try:
        for path, body, most in (
            ("/auth/resend-otp", {"email": "nobody@example.com"}, 60),
            ("/auth/set-password", {"token": "x", "password": NEW}, 30),
        ):
            answers = [api.post(path, body) for _ in range(most + 10)]
            statuses = [answer.status_code for answer in answers]
            assert most <= statuses.index(429) < most + 10
            assert int(answers[-1].headers["retry-after"]) > 0
    finally:
        api.do("DELETE FROM rate_buckets")
