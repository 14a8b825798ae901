"""Latest values go a short way through the API, many of them at once: what is said is what the long way says."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.integration.api.conftest import Api

# Taken as JSON like the absence of it, and not looked for on the short way.
_LONG = {"accept": "application/*"}
# From a commit of another process to its notification, on a busy machine too.
_TOLD_S = 0.3
# Of a request, of its time, and of the requests before it.
_OWN = {"date", "x-request-id", "ratelimit"}


def _path(code: str) -> str:
    return f"/api/v1/telemetry/meters/{code}/latest"


def _said(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    return answer.status_code, {key: value for key, value in answer.headers.items() if key not in _OWN}, answer.content


def _ask(api: Api, path: str, token: str | None, headers: Mapping[str, str] | None = None) -> httpx.Response:
    # httpx sends Accept: */* of itself.
    return api.client.get(path, headers={**({} if token is None else _bearer(token)), **(headers or {})})


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_the_short_way_says_what_the_long_way_says(api: Api, reading: Any) -> None:
    owner, another, admin = api.person(), api.person(), api.person("ADMIN")
    code, silent = owner.meter(), owner.meter()
    reading(code, 1234.5)
    tag = _ask(api, _path(code), owner.token).headers["etag"]
    gone = api.person()
    api.post("/auth/logout", token=gone.token)
    asked: list[tuple[str, str | None, dict[str, str], int]] = [
        (code, owner.token, {}, 200),
        (code, owner.token, {"if-none-match": tag}, 304),
        (code, owner.token, {"if-none-match": '"other"'}, 200),
        (code, owner.token, {"if-none-match": '"' + "x" * 1000 + '"'}, 422),
        (silent, owner.token, {}, 200),
        (code, admin.token, {}, 200),
        (code, another.token, {}, 404),
        (code, another.token, {"if-none-match": "*"}, 404),
        ("MTR-09999999", owner.token, {}, 404),
        ("MTR-1", owner.token, {}, 404),
        (code, gone.token, {}, 401),
        (code, owner.token[:-4] + "AAAA", {}, 401),
        (code, "x", {}, 401),
        (code, None, {}, 401),
    ]
    for of, token, headers, status in asked:
        short, long = _ask(api, _path(of), token, headers), _ask(api, _path(of), token, headers | _LONG)
        assert _said(short) == _said(long), (of, headers)
        assert short.status_code == status, (of, headers, short.text)
        assert short.headers.keys() == long.headers.keys()


def test_what_is_not_plain_is_answered_all_the_same(api: Api, reading: Any) -> None:
    owner = api.person()
    code = owner.meter()
    reading(code, 5)
    assert _ask(api, _path(code) + "?since=now", owner.token).status_code == 422
    assert _ask(api, _path(code), None, {"authorization": f"bearer  {owner.token}"}).status_code == 200
    assert _ask(api, _path(code), owner.token, {"accept": "text/html"}).status_code == 406
    head = api.client.head(_path(code), headers=_bearer(owner.token))
    assert (head.status_code, head.content) == (200, b"")
    twice = api.client.get(
        _path(code), headers=[("authorization", "Basic x"), ("authorization", f"Bearer {owner.token}")]
    )
    assert twice.status_code == 401
    posted = api.client.post(_path(code), headers=_bearer(owner.token))
    assert posted.status_code == 405


@pytest.mark.parametrize("end", ["suspend", "role", "logout", "logout-all", "meter", "expiry"])
def test_what_ends_between_two_questions_is_over_with_the_second(api: Api, reading: Any, end: str) -> None:
    """D11: also where it ended by another process, and its notification is on the way."""
    owner, admin = api.person(), api.person("ADMIN")
    code = owner.meter()
    reading(code, 5)
    assert _ask(api, _path(code), owner.token).status_code == 200
    if end == "suspend":
        assert api.post(f"/users/{owner.user_id}/suspend", token=admin.token).status_code == 200
    elif end == "role":
        assert api.segs_cloud("user", "role", owner.email, "OPERATOR").returncode == 0
    elif end == "meter":
        api.do("DELETE FROM meter_owners WHERE user_id = %s", owner.user_id)
    elif end == "expiry":
        api.do("UPDATE sessions SET expires_at = now() WHERE user_id = %s", owner.user_id)
    else:
        assert api.post(f"/auth/{end}", token=owner.token).status_code == 200

    if end in ("role", "meter", "expiry"):
        time.sleep(_TOLD_S)
    refused = _ask(api, _path(code), owner.token)
    assert refused.status_code == (404 if end == "meter" else 401)
    assert refused.headers["content-type"] == "application/problem+json"


def test_what_was_read_once_is_no_right_to_read_it_again(api: Api, reading: Any) -> None:
    """D12: what may be read is remembered, until the database tells that it is something else."""
    owner = api.person()
    code = owner.meter()
    now = datetime.now(UTC)
    reading(code, 100, now - timedelta(days=2))
    reading(code, 200, now - timedelta(hours=1))

    def told() -> float | None:
        found = _ask(api, _path(code), owner.token).json()["data"]["reading"]
        return None if found is None else float(found["power_w"])

    def owned(valid: str) -> None:
        api.do("UPDATE meter_owners SET valid = tstzrange(" + valid + ") WHERE user_id = %s", owner.user_id)
        time.sleep(_TOLD_S)

    assert [told(), told()] == [200, 200]
    owned("'-infinity', now() - INTERVAL '1 day'")
    assert [told(), told()] == [100, 100]
    owned("now() - INTERVAL '1 minute', 'infinity'")
    assert [told(), told()] == [None, None]
    owned("'-infinity', 'infinity'")
    assert [told(), told()] == [200, 200]


def test_questions_that_come_together_are_answered_each_for_itself(api: Api, reading: Any) -> None:
    """One statement has them all: nobody is told what another may read, nor kept from their own by who may not."""
    people = [api.person() for _ in range(3)]
    codes = [person.meter() for person in people]
    for n, code in enumerate(codes):
        reading(code, 100 + n)
    gone = api.person()
    api.post("/auth/logout", token=gone.token)

    def asked(n: int) -> tuple[int, int, int, float | None]:
        who, of = n % 4, n // 4 % 3
        answer = _ask(api, _path(codes[of]), (*people, gone)[who].token)
        return (
            who,
            of,
            answer.status_code,
            answer.json().get("data", {"reading": {"power_w": None}})["reading"]["power_w"],
        )

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(asked, range(240)))
    for who, of, status, power_w in answers:
        expected = (401, None) if who == 3 else (200, 100 + of) if who == of else (404, None)
        assert (status, power_w) == expected, (who, of)


def test_a_look_on_the_short_way_is_in_the_log_and_in_the_figures(api: Api, reading: Any) -> None:
    owner, admin = api.person(), api.person("ADMIN")
    code = owner.meter()
    reading(code, 5)
    asking = (owner, owner, admin, admin)
    names = [
        _ask(api, _path(code), who.token, {"x-request-id": f"short-{n}-{code}"}).headers["x-request-id"]
        for n, who in enumerate(asking)
    ]
    assert names == [f"short-{n}-{code}" for n in range(4)]

    query = "SELECT request_id, actor FROM audit_logs WHERE action = 'READ' AND request_id = ANY (%s) ORDER BY audit_id"
    assert api.do(query, names) == [(name, f"user:{admin.user_id}") for name in names[2:]]
    lines = [line for name in names for line in api.logged(name)]
    route = "/api/v1/telemetry/meters/{code}/latest"
    assert [(line["request_id"], line["user_id"], line["route"], line["status"]) for line in lines] == [
        (name, who.user_id, route, 200) for name, who in zip(names, asking, strict=True)
    ]
    counted = f'segs_api_requests_total{{method="GET",route="{route}",status="2xx"}}'
    assert counted in api.client.get("/metrics").text


def test_requests_are_counted_on_the_short_way(api: Api, reading: Any) -> None:
    """Of the address and of the account: of both there is one less than there may be."""
    owner = api.person()
    code = owner.meter()
    reading(code, 5)
    answer = _ask(api, _path(code), owner.token)
    told = dict(part.split(";", 1) for part in answer.headers["ratelimit"].split(", "))
    quotas = dict(part.split(";", 1) for part in answer.headers["ratelimit-policy"].split(", "))
    assert told.keys() == quotas.keys() == {'"address"', '"account"'}
    for whose in told:
        assert int(told[whose].split(";")[0][2:]) < int(quotas[whose].split(";")[0][2:])
