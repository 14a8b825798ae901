"""From an HTTP body to rows: once, whole, and with a receipt; what cannot be stored waits in the quarantine."""

import asyncio
import math
from datetime import datetime, timedelta

import psycopg
import pytest
from prometheus_client import REGISTRY

from cloud.db.queries import Queries
from cloud.gateways.key import Key
from cloud.ingest.acceptance import Acceptance
from cloud.ingest.receiver import Limits
from cloud.workers.quarantine import release
from contract.batch import Batch, DeviceBlock
from contract.codec import ENCODINGS, JSON, MEDIA_TYPES, PACKED, compress, encode
from contract.notes import NoteKind
from contract.quantities import QUANTITIES
from tests.integration.conftest import NOW, NOW_US, STREAM, Cloud, batch, register_device

_ACCEPTANCE = Acceptance(past=timedelta(days=7), future=timedelta(minutes=5))
COUNTED = "SELECT count(*) FROM raw_readings WHERE time > '2026-01-01'"


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_batch_is_stored_and_answered_with_its_receipt(cloud: Cloud, media_type: str, encoding: str) -> None:
    body = compress(encode(batch(), media_type), encoding)

    answer = await cloud.post(body, content_type=media_type, content_encoding=encoding)

    assert answer.status_code == 200, answer.text
    assert answer.json() | {"sha256": ""} == {
        "version": 2 if media_type == PACKED else 1, "stream": STREAM, "seq": 1, "sha256": "", "readings": 3,
        "stored": 3, "duplicates": 0,
        "quarantined": [],
    }  # fmt: skip
    stored = cloud.rows("SELECT meter_id, power_w, energy_import_wh FROM raw_readings WHERE time > '2026-01-01'")
    assert sorted(stored) == [(1, 0.0, 1000), (1, 1.0, 1001), (1, 2.0, 1002)]


async def test_every_quantity_reaches_its_column(cloud: Cloud) -> None:
    """C1: the schema strips a field that the rest needs, and energy is always 0."""
    values = {q.name: [q.canonical(min(q.maximum, 10.0 + n) * 0.97)] for n, q in enumerate(QUANTITIES)}
    await cloud.send(batch(**values))

    names = ", ".join(values)
    (row,) = cloud.rows(f"SELECT {names} FROM raw_readings WHERE time > '2026-01-01'")
    assert [float(str(value)) for value in row] == [pytest.approx(column[0], rel=1e-6) for column in values.values()]


async def test_a_repeat_gets_the_first_answer_and_stores_nothing(cloud: Cloud) -> None:
    """C3, E23: a retry doubles readings, or is dropped as a duplicate of a write that failed."""
    first = await cloud.send(batch())
    cloud.now[0] += timedelta(days=30)

    second = await cloud.send(batch())

    assert second.content == first.content
    assert cloud.rows(COUNTED) == [(3,)]
    assert cloud.rows("SELECT count(*) FROM dirty_meters") == [(1,)]


async def test_repeats_at_the_same_instant_store_once(cloud: Cloud) -> None:
    answers = await asyncio.gather(*(cloud.send(batch()) for _ in range(2)))

    assert {answer.content for answer in answers} == {answers[0].content}
    assert cloud.rows(COUNTED) == [(3,)]


async def test_a_failed_write_leaves_no_trace_so_that_the_retry_is_stored(cloud: Cloud) -> None:
    """C3: the dedupe key is set before the write."""
    cloud.do("ALTER TABLE dirty_meters ADD CONSTRAINT broken CHECK (block < 0) NOT VALID")
    failed = await cloud.send(batch())
    assert (failed.status_code, failed.json()["type"]) == (500, "urn:segs:problem:internal")
    assert cloud.rows("SELECT count(*) FROM ingest_batches") == [(0,)]
    cloud.do("ALTER TABLE dirty_meters DROP CONSTRAINT broken")

    answer = await cloud.send(batch())

    assert answer.json()["stored"] == 3
    assert cloud.rows(COUNTED) == [(3,)]


async def test_a_sequence_number_with_other_content_is_refused(cloud: Cloud) -> None:
    await cloud.send(batch())

    answer = await cloud.send(batch(rows=4))

    assert answer.status_code == 409
    assert cloud.rows(COUNTED) == [(3,)]


async def test_readings_that_are_there_already_are_duplicates(cloud: Cloud) -> None:
    await cloud.send(batch(rows=3))

    answer = await cloud.send(batch(2, rows=5))

    assert (answer.json()["stored"], answer.json()["duplicates"]) == (2, 3)
    assert answer.json()["quarantined"] == []
    assert cloud.rows(COUNTED) == [(5,)]


async def test_a_later_batch_completes_a_reading_with_the_quantities_it_lacks(cloud: Cloud) -> None:
    await cloud.send(batch(1, power_w=[1, 2]))

    await cloud.send(batch(2, energy_import_wh=[10, 11]))

    query = "SELECT power_w, energy_import_wh FROM raw_readings WHERE time > '2026-01-01' ORDER BY time"
    assert cloud.rows(query) == [(1.0, 10), (2.0, 11)]


async def test_another_value_for_a_stored_reading_waits_for_review(cloud: Cloud) -> None:
    """The stored value stays: a reading is immutable."""
    await cloud.send(batch(1, power_w=[1, 2], current_l1_a=[5, 6]))

    answer = await cloud.send(batch(2, power_w=[1, 9], current_l1_a=[5, 6]))

    assert answer.json()["quarantined"] == [{"device": "main", "reason": "conflict", "readings": 1}]
    query = "SELECT power_w FROM raw_readings WHERE time > '2026-01-01' ORDER BY time"
    assert cloud.rows(query) == [(1.0,), (2.0,)]
    ((block,),) = cloud.rows("SELECT block FROM quarantine")
    assert isinstance(block, dict)
    assert (block["time_us"], block["values"]) == ([NOW_US + 1_000_000], {"power_w": [9]})


async def test_one_instant_twice_in_a_batch_is_stored_once(cloud: Cloud) -> None:
    twice = Batch(1, STREAM, 1, [DeviceBlock("main", [NOW_US, NOW_US, NOW_US], {"power_w": [1, 1, 2]})])

    answer = await cloud.send(twice)

    assert (answer.json()["stored"], answer.json()["duplicates"]) == (1, 2)
    assert [part["reason"] for part in answer.json()["quarantined"]] == ["conflict"]


async def test_an_unknown_device_waits_and_comes_back_once_registered(cloud: Cloud) -> None:
    """C12: what cannot be stored is kept with its reason."""
    answer = await cloud.send(batch(device="new", power_w=[1, math.nan]))
    assert answer.json()["quarantined"] == [{"device": "new", "reason": "unknown_device", "readings": 2}]
    async with await psycopg.AsyncConnection.connect(cloud.dsn, autocommit=True) as connection:
        assert await release(connection, _ACCEPTANCE, cloud.now[0]) == 0
        with psycopg.connect(cloud.dsn, autocommit=True) as other:
            register_device(other, "new", 2)

        assert await release(connection, _ACCEPTANCE, cloud.now[0]) == 1
        assert await release(connection, _ACCEPTANCE, cloud.now[0]) == 0

    stored = cloud.rows("SELECT meter_id, power_w FROM raw_readings WHERE time > '2026-01-01' ORDER BY time")
    assert stored == [(2, 1.0), (2, None)]
    waiting = cloud.rows("SELECT reason FROM quarantine WHERE released_at IS NULL")
    assert waiting == [("not_a_number",)]
    assert cloud.rows("SELECT count(*) FROM dirty_meters") == [(1,)]


async def test_a_block_at_which_the_database_fails_holds_up_no_other(cloud: Cloud) -> None:
    """C8, C12: all that waited was released in one transaction, and failed with it again and again."""
    for seq, device in enumerate(("first", "second", "third"), start=1):
        await cloud.send(batch(seq, device=device))
    failed: dict[int, datetime] = {}
    with psycopg.connect(cloud.dsn, autocommit=True) as other:
        for meter_id, device in enumerate(("first", "second", "third"), start=2):
            register_device(other, device, meter_id)
        other.execute("ALTER TABLE raw_readings ADD CONSTRAINT damaged CHECK (meter_id <> 3)")
        async with await psycopg.AsyncConnection.connect(cloud.dsn, autocommit=True) as connection:
            assert await release(connection, _ACCEPTANCE, cloud.now[0], failed) == 3
            assert await release(connection, _ACCEPTANCE, cloud.now[0], failed) == 0
            other.execute("ALTER TABLE raw_readings DROP CONSTRAINT damaged")
            assert await release(connection, _ACCEPTANCE, cloud.now[0], failed) == 0
            assert cloud.rows(f"{COUNTED} AND meter_id <> 3") == cloud.rows(COUNTED) == [(6,)]
            assert await release(connection, _ACCEPTANCE, cloud.now[0] + timedelta(hours=1), failed) == 1

    assert failed == {}
    stored = cloud.rows("SELECT meter_id, count(*) FROM raw_readings WHERE time > '2026-01-01' GROUP BY 1 ORDER BY 1")
    assert stored == [(2, 3), (3, 3), (4, 3)]
    assert cloud.rows("SELECT count(*) FROM quarantine WHERE released_at IS NULL") == [(0,)]


async def test_a_device_registered_a_moment_ago_is_known_at_once(cloud: Cloud) -> None:
    await cloud.send(batch())
    with psycopg.connect(cloud.dsn, autocommit=True) as connection:
        register_device(connection, "new", 2)

    answer = await cloud.send(batch(2, device="new"))

    assert answer.json()["stored"] == 3


async def test_a_poisoned_reading_does_not_hold_its_neighbours(cloud: Cloud) -> None:
    """E26, C4."""
    answer = await cloud.send(batch(power_w=[1, math.nan, 1e30, 4], energy_import_wh=[1, 2, 3, 10**17]))

    assert answer.json()["stored"] == 4
    assert {(part["reason"], part["readings"]) for part in answer.json()["quarantined"]} == {
        ("not_a_number", 1),
        ("out_of_range", 2),
    }
    query = "SELECT power_w, energy_import_wh FROM raw_readings WHERE time > '2026-01-01' ORDER BY time"
    assert cloud.rows(query) == [(1, 1), (None, 2), (None, 3), (4, None)]


async def test_a_wild_clock_makes_no_chunks(cloud: Cloud) -> None:
    times = [0, 2**62, -(2**62), NOW_US]
    wild = Batch(1, STREAM, 1, [DeviceBlock("main", times, {"power_w": [1, 2, 3, 4]})])

    answer = await cloud.send(wild)

    assert answer.json()["stored"] == 1
    assert {part["reason"] for part in answer.json()["quarantined"]} == {"future", "too_old"}
    assert len(cloud.rows("SELECT show_chunks('raw_readings')")) == 1


@pytest.mark.parametrize("limits", [Limits()])
async def test_a_batch_as_large_as_it_may_be_is_stored_known_again_and_set_aside(cloud: Cloud, limits: Limits) -> None:
    """C8: a statement grows past what it can bind, and the batch fails for ever."""
    most = limits.readings
    first_us = NOW_US - most * 1_000_000
    everywhere = [DeviceBlock(f"unknown-{n}", [NOW_US], {"power_w": [1.0]}) for n in range(most)]

    stored = (await cloud.send(batch(1, rows=most, first_us=first_us))).json()
    known = (await cloud.send(batch(2, rows=most, first_us=first_us))).json()
    aside = (await cloud.send(Batch(version=1, stream=STREAM, seq=3, devices=everywhere))).json()

    assert [(one["stored"], one["duplicates"]) for one in (stored, known, aside)] == [(most, 0), (0, most), (0, 0)]
    assert cloud.rows("SELECT count(*) FROM quarantine") == [(most,)]


async def test_no_label_of_a_metric_says_what_came_from_outside(cloud: Cloud) -> None:
    """C2: a region or device as a label lets a gateway fill the memory of receiver and Prometheus."""
    await cloud.send(batch(device="from-outside", power_w=[1]))
    await cloud.send(batch(seq=2, from_outside_w=[1]))
    labels = {
        (name, value)
        for family in REGISTRY.collect()
        for sample in family.samples
        if family.name.startswith("segs_ingest")
        for name, value in sample.labels.items()
    }
    assert {name for name, _ in labels} <= {"outcome", "kind", "le"}
    assert ("outcome", "unknown_device") in labels
    assert not any("outside" in value or value in ("north", "attic", "main") for _, value in labels)


@pytest.mark.parametrize("key", ["", "segs_wrong", "segs_\u00e4"])
async def test_without_a_valid_key_nothing_is_read(cloud: Cloud, key: str) -> None:
    """C2: ingest without authentication."""
    answer = await cloud.client.post(
        "/ingest/v1/batches", content=b"x", headers={"authorization": f"Bearer {key}".encode()}
    )

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:segs:problem:unknown-key"


async def test_a_revoked_key_is_refused_from_the_next_batch_on(cloud: Cloud) -> None:
    assert (await cloud.send(batch(1))).status_code == 200
    cloud.do("UPDATE gateway_registry SET key_hashes = '{}'")

    answer = await cloud.send(batch(2))

    assert answer.status_code == 401
    assert cloud.rows("SELECT count(*) FROM ingest_batches") == [(1,)]


async def test_a_rotated_key_works_beside_the_old_one(cloud: Cloud) -> None:
    fresh = Key.generate()
    cloud.do("UPDATE gateway_registry SET key_hashes = %s", [cloud.key.digest, fresh.digest])

    assert (await cloud.send(batch(1))).status_code == 200
    assert (await cloud.send(batch(2), authorization=f"Bearer {fresh.text}")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"content_type": "text/csv"}, 415), ({"content_encoding": "br"}, 415), ({"content_type": JSON}, 422)],
)
async def test_what_the_contract_does_not_have_is_told_so(cloud: Cloud, headers: dict[str, str], status: int) -> None:
    answer = await cloud.send(batch(), **headers)

    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert answer.headers.get("accept-post") == (", ".join(MEDIA_TYPES) if status == 415 else None)


async def test_garbage_is_refused_with_its_place(cloud: Cloud) -> None:
    answer = await cloud.post(b'{"version": 1, "stream": "x"}', content_type=JSON, content_encoding="identity")

    assert answer.status_code == 422
    assert answer.json()["where"] == "$"


async def test_bodies_beyond_the_limits_are_refused(cloud: Cloud) -> None:
    large = await cloud.post(bytes(200_001))
    bomb = await cloud.post(compress(bytes(50_000_000), "zstd"))
    many = await cloud.send(batch(power_w=[1.0] * 10_001))

    assert [answer.status_code for answer in (large, bomb, many)] == [413, 413, 413]
    assert cloud.rows(COUNTED) == [(0,)]


async def test_a_stream_says_which_batches_it_has(cloud: Cloud) -> None:
    for seq in (1, 2, 3, 7):
        await cloud.send(batch(seq))

    answer = await cloud.get(f"/ingest/v1/streams/{STREAM}")
    later = await cloud.get(f"/ingest/v1/streams/{STREAM}?from=3")

    assert answer.json() == {
        "stream": STREAM,
        "received": [[1, 3], [7, 7]],
        "media_types": list(MEDIA_TYPES),
        "note_kinds": [kind.value for kind in NoteKind],
    }
    assert later.json()["received"] == [[3, 3], [7, 7]]


@pytest.mark.parametrize("number", ["", "0", "-1", "1.5", "x", str(2**63), "9" * 30])
async def test_a_number_to_begin_from_is_a_sequence_number(cloud: Cloud, number: str) -> None:
    answer = await cloud.get(f"/ingest/v1/streams/{STREAM}?from={number}")

    assert (answer.status_code, answer.json()["where"]) == (422, "from")


async def test_of_an_unknown_stream_nothing_has_come(cloud: Cloud) -> None:
    answer = await cloud.get("/ingest/v1/streams/00000000-0000-0000-0000-000000000000")

    assert (answer.status_code, answer.json()["received"]) == (200, [])


def test_a_stream_is_asked_for_by_a_range_of_its_index(telemetry_db: str) -> None:
    """A stream of a year has millions of batches, and a gateway asks each minute."""
    with psycopg.connect(telemetry_db) as connection:
        connection.execute(
            "INSERT INTO gateway_registry VALUES (1, 'attic', '{}')",
        )
        connection.execute(
            "INSERT INTO ingest_batches (gateway_id, stream, seq, sha256, received_at, readings, stored, duplicates)"
            " SELECT 1, %s, n, sha256('x'), %s, 1, 1, 0 FROM generate_series(1, 20000) AS n",
            [STREAM, NOW],
        )
        connection.execute("ANALYZE ingest_batches")
        explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
        parameters = {"gateway_id": 1, "stream": STREAM, "from_seq": 19_990}
        row = connection.execute(explain + Queries("ingest")["stream_ranges"], parameters).fetchone()

    assert row is not None
    plan = row[0][0]["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 20


async def test_a_dirty_mark_covers_its_readings_and_not_the_silence_between(cloud: Cloud) -> None:
    hour_us = 3_600_000_000
    times = [NOW_US - hour_us, NOW_US - hour_us + 1, NOW_US]
    await cloud.send(Batch(1, STREAM, 1, [DeviceBlock("main", times, {"power_w": [1, 2, 3]})]))

    spans = cloud.rows(
        "SELECT extract(epoch FROM last_time - first_time)::float8 FROM dirty_meters ORDER BY first_time"
    )

    assert spans == [(1e-6,), (0.0,)]


async def test_blocks_that_repeat_each_other_all_come_back_once_registered(cloud: Cloud) -> None:
    """E23, E26: one block that meets stored rows holds the whole quarantine."""
    for seq in (1, 2, 3):
        await cloud.send(batch(seq, device="new", power_w=[1, 1 + seq]))
    with psycopg.connect(cloud.dsn, autocommit=True) as connection:
        register_device(connection, "new", 2)

    async with await psycopg.AsyncConnection.connect(cloud.dsn, autocommit=True) as connection:
        assert await release(connection, _ACCEPTANCE, cloud.now[0]) == 3

    assert cloud.rows("SELECT power_w FROM raw_readings WHERE time > '2026-01-01' ORDER BY time") == [(1,), (2,)]
    waiting = cloud.rows(
        "SELECT reason, block -> 'values' FROM quarantine WHERE released_at IS NULL ORDER BY block::text"
    )
    assert waiting == [("conflict", {"power_w": [3]}), ("conflict", {"power_w": [4]})]


async def test_readings_that_came_early_are_stored_once_their_time_has_come(cloud: Cloud) -> None:
    """E27: a clock that is ahead. What is not due yet waits on, and is looked at again no oftener than needed."""
    hour_us = 3_600_000_000
    times = [NOW_US + hour_us, NOW_US + hour_us + 1, NOW_US + 10 * hour_us, 2**62]
    answer = await cloud.send(Batch(1, STREAM, 1, [DeviceBlock("main", times, {"power_w": [1, 2, 3, 4]})]))
    assert answer.json()["quarantined"] == [{"device": "main", "reason": "future", "readings": 4}]

    done = []
    async with await psycopg.AsyncConnection.connect(cloud.dsn, autocommit=True) as connection:
        for minutes in (0, 60, 80, 80, 85, 10 * 60 + 20, 10 * 60 + 20):
            done.append(await release(connection, _ACCEPTANCE, NOW + timedelta(minutes=minutes)))

    assert done == [0, 0, 1, 0, 0, 1, 0]
    assert cloud.rows("SELECT power_w FROM raw_readings WHERE time > '2026-01-01' ORDER BY time") == [(1,), (2,), (3,)]
    waiting = cloud.rows("SELECT reason, block -> 'time_us' FROM quarantine WHERE released_at IS NULL")
    assert waiting == [("future", [2**62])]


async def test_early_readings_whose_device_nobody_knows_wait_for_both(cloud: Cloud) -> None:
    await cloud.send(batch(device="new", first_us=NOW_US + 3_600_000_000))
    later = NOW + timedelta(hours=2)
    async with await psycopg.AsyncConnection.connect(cloud.dsn, autocommit=True) as connection:
        assert await release(connection, _ACCEPTANCE, later) == 1
        assert cloud.rows("SELECT reason FROM quarantine WHERE released_at IS NULL") == [("unknown_device",)]
        with psycopg.connect(cloud.dsn, autocommit=True) as other:
            register_device(other, "new", 2)

        assert await release(connection, _ACCEPTANCE, later) == 1

    assert cloud.rows(COUNTED) == [(3,)]


async def test_readings_on_both_sides_of_a_registration_wait_on_undisturbed(cloud: Cloud) -> None:
    """They were released and set aside again every two seconds, one more row in the quarantine each time."""
    hour_us = 3_600_000_000
    times = [NOW_US - 3 * hour_us, NOW_US - 2 * hour_us, NOW_US - hour_us]
    await cloud.send(Batch(1, STREAM, 1, [DeviceBlock("new", times, {"power_w": [1, 2, 3]})]))
    with psycopg.connect(cloud.dsn, autocommit=True) as connection:
        register_device(connection, "new", 2)
        connection.execute(
            "UPDATE device_registry SET valid = tstzrange(to_timestamp(%s), to_timestamp(%s)) WHERE device = 'new'",
            [times[1] / 1e6, times[1] / 1e6 + 1],
        )

    async with await psycopg.AsyncConnection.connect(cloud.dsn, autocommit=True) as connection:
        done = [await release(connection, _ACCEPTANCE, cloud.now[0]) for _ in range(3)]

    assert done == [1, 0, 0]
    waiting = cloud.rows("SELECT block -> 'time_us' FROM quarantine WHERE released_at IS NULL")
    assert waiting == [([times[0], times[2]],)]


async def test_a_batch_of_a_million_empty_devices_is_refused(cloud: Cloud) -> None:
    """E26: two kilobytes of nothing kept the receiver from every other gateway for half a minute."""
    empty = Batch(1, STREAM, 1, [DeviceBlock("main", [], {})] * 10_000)

    answer = await cloud.send(empty)

    assert (answer.status_code, answer.json()["type"]) == (413, "urn:segs:problem:too-large")


async def test_what_differs_is_set_aside_under_the_device_that_it_came_from(cloud: Cloud) -> None:
    """A meter was the gateway's device `main`, and is `spare` since a second ago."""
    with psycopg.connect(cloud.dsn, autocommit=True) as connection:
        connection.execute("UPDATE device_registry SET valid = tstzrange('-infinity', %s)", [cloud.now[0]])
        register_device(connection, "other", 2)
        connection.execute(
            "UPDATE device_registry SET device = 'spare', meter_id = 1, valid = tstzrange(%s, 'infinity')"
            " WHERE device = 'other'",
            [cloud.now[0]],
        )
    await cloud.send(batch(1, first_us=NOW_US - 1_000_000, power_w=[1]))

    answer = await cloud.send(batch(2, first_us=NOW_US - 1_000_000, power_w=[2]))

    assert answer.json()["quarantined"] == [{"device": "main", "reason": "conflict", "readings": 1}]


async def test_a_revoked_key_learns_nothing_of_its_streams(cloud: Cloud) -> None:
    assert (await cloud.get(f"/ingest/v1/streams/{STREAM}")).status_code == 200
    cloud.do("UPDATE gateway_registry SET key_hashes = '{}'")

    assert (await cloud.get(f"/ingest/v1/streams/{STREAM}")).status_code == 401


async def test_every_quantity_is_completed_and_held_against_what_is_stored(cloud: Cloud) -> None:
    """C1: a quantity that the slow path forgets is lost, or changes unseen. The repeat of each answer is the answer."""
    for seq, quantity in enumerate(QUANTITIES):
        other = "power_w" if quantity.name != "power_w" else "frequency_hz"
        first_us = NOW_US + seq * 1_000_000
        value, differs = quantity.maximum / 2, quantity.maximum
        sent = [
            batch(3 * seq + 1, first_us=first_us, **{other: [50.0]}),
            batch(3 * seq + 2, first_us=first_us, **{quantity.name: [value]}),
            batch(3 * seq + 3, first_us=first_us, **{quantity.name: [differs]}),
        ]
        answers = [(await cloud.send(one)).json() for one in sent]

        assert answers[1]["quarantined"] == [], quantity.name
        assert answers[2]["quarantined"] == [{"device": "main", "reason": "conflict", "readings": 1}], quantity.name
        assert (await cloud.send(sent[2])).json() == answers[2]
        (row,) = cloud.rows(
            f"SELECT {quantity.name} FROM raw_readings WHERE time = to_timestamp(%s)", first_us / 1_000_000
        )
        assert row == (pytest.approx(value),), quantity.name


async def test_three_parts_of_one_instant_in_a_batch_become_one_reading(cloud: Cloud) -> None:
    columns = {"power_w": [1, None, None], "energy_import_wh": [None, 2, None], "frequency_hz": [None, None, 50]}
    await cloud.send(Batch(1, STREAM, 1, [DeviceBlock("main", [NOW_US] * 3, columns)]))

    query = "SELECT power_w, energy_import_wh, frequency_hz FROM raw_readings WHERE time > '2026-01-01'"
    assert cloud.rows(query) == [(1.0, 2, 50.0)]
