"""Exports over HTTP: the same sums in every format, what breaks is noticed, and nobody exports what is not theirs."""

import csv
import io
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pyarrow.parquet
import pytest

from tests.integration.api.conftest import Api, Person
from tests.integration.api.measured import DAY, quarters, register

BEGIN = datetime(2026, 1, 31, 23, tzinfo=UTC)
DAYS = 120
ESPI = "{http://naesb.org/espi}"


@pytest.fixture(scope="module")
def owner(api: Api) -> tuple[Person, str, dict[str, str]]:
    """120 days of quarter-hours, some windows long, over a change of clocks; span from the middle of a quarter-hour."""
    person = api.person()
    code = person.meter(zone="Europe/Berlin")
    register(api, code, zone="Europe/Berlin")
    quarters(api, code, BEGIN, [n % 97 for n in range(DAYS * 96)])
    span = {
        "from": (BEGIN + timedelta(minutes=7)).isoformat(),
        "to": (BEGIN + (DAYS - 1) * DAY + timedelta(minutes=20)).isoformat(),
    }
    return person, code, span


def _rows(api: Api, who: Person, code: str, **query: str) -> list[dict[str, str]]:
    answer = api.get(f"/telemetry/meters/{code}/export", token=who.token, format="csv", **query)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.mark.parametrize("resolution", ["15m", "1h", "1d", "1mo"])
def test_an_export_adds_up_to_the_statistics_in_every_format(
    api: Api, owner: tuple[Person, str, dict[str, str]], resolution: str
) -> None:
    person, code, span = owner
    [whole] = api.get(f"/telemetry/meters/{code}/statistics", token=person.token, **span).json()["data"]["parts"]
    expected = (whole["energy_import_wh"], whole["energy_export_wh"])

    rows = _rows(api, person, code, **span, resolution=resolution)
    assert tuple(sum(int(row[name]) for row in rows) for name in ("import_wh", "export_wh")) == expected
    assert len({row["start"] for row in rows}) == len(rows)
    path = f"/telemetry/meters/{code}/export"
    binary = api.get(path, token=person.token, **span, resolution=resolution, format="parquet")
    table = pyarrow.parquet.read_table(io.BytesIO(binary.content))
    assert tuple(sum(table.column(name).to_pylist()) for name in ("import_wh", "export_wh")) == expected
    feed = api.get(path, token=person.token, **span, resolution=resolution, format="green-button")
    values = [int(value.text or "") for value in ElementTree.fromstring(feed.text).iter(f"{ESPI}value")]
    assert sum(values) == sum(expected)


def test_local_times_have_their_offset_over_a_change_of_clocks(
    api: Api, owner: tuple[Person, str, dict[str, str]]
) -> None:
    """D16."""
    person, code, _ = owner
    span = {"from": "2026-03-28T23:00:00Z", "to": "2026-03-29T22:00:00Z"}
    rows = _rows(api, person, code, **span, resolution="1h")
    assert len(rows) == 23
    assert [row["start"] for row in rows[1:3]] == ["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"]


@pytest.mark.parametrize(
    ("format_", "ending", "media_type"),
    [
        ("csv", "csv", "text/csv"),
        ("parquet", "parquet", "application/vnd.apache.parquet"),
        ("green-button", "xml", "application/atom+xml"),
    ],
)
def test_a_file_has_a_name_and_a_type(
    api: Api, owner: tuple[Person, str, dict[str, str]], format_: str, ending: str, media_type: str
) -> None:
    person, code, _ = owner
    span = {"from": "2026-02-01T00:00:00+01:00", "to": "2026-02-02T00:00:00+01:00"}
    answer = api.get(f"/telemetry/meters/{code}/export", token=person.token, **span, format=format_)
    assert answer.headers["content-disposition"] == f'attachment; filename="{code}-20260201-15m.{ending}"'
    assert answer.headers["content-type"].startswith(media_type)


def test_an_export_is_its_owner_s_and_of_their_time(api: Api, owner: tuple[Person, str, dict[str, str]]) -> None:
    """D12."""
    person, _, span = owner
    code = person.meter()
    register(api, code)
    quarters(api, code, BEGIN, [10] * 192)
    another = api.person()
    refused = api.get(f"/telemetry/meters/{code}/export", token=another.token, format="csv", **span)
    assert refused.status_code == 404
    api.do("SELECT meter_give(%s, %s, %s, now())", code, another.user_id, BEGIN + DAY)
    assert _rows(api, another, code, **span)[0]["start"] == "2026-02-01T23:00:00+00:00"
    assert _rows(api, person, code, **span)[-1]["end"] == "2026-02-01T23:00:00+00:00"


def test_what_makes_no_sense_is_refused(api: Api, owner: tuple[Person, str, dict[str, str]]) -> None:
    """D16."""
    person, code, span = owner
    for query in ({}, {"format": "xls"}, {"format": "csv", "resolution": "1m"}, {"format": "csv", "delimiter": ";"}):
        answer = api.get(f"/telemetry/meters/{code}/export", token=person.token, **span, **query)
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:segs:problem:invalid"), query


@pytest.mark.long
def test_an_export_that_breaks_is_not_taken_for_whole(api: Api, owner: tuple[Person, str, dict[str, str]]) -> None:
    """Sessions are held back while the file is longer than what is under way; the question gives up, and the connection
    is closed before the end of the transfer."""
    person, code, span = owner[0], owner[0].meter(), {"from": "2022-01-01T00:00:00Z", "to": "2025-01-01T00:00:00Z"}
    register(api, code)
    quarters(api, code, datetime(2022, 1, 1, tzinfo=UTC), [1] * (3 * 365 * 96))
    headers, query = {"authorization": f"Bearer {person.token}"}, {**span, "format": "csv"}
    path = f"/api/v1/telemetry/meters/{code}/export"
    with psycopg.connect(api.domain) as holder:
        with api.client.stream("GET", path, params=query, headers=headers) as answer:
            assert answer.status_code == 200
            holder.execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(httpx.RemoteProtocolError):
                answer.read()
        holder.rollback()
    # And its place is free again.
    for _ in range(3):
        assert len(_rows(api, person, code, **span)) == 3 * 365 * 96
