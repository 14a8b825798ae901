"""Numbers in the rows of a buffer that a bad card altered, each of them as possible as what stood there."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge.buffer.store import Store
from edge.reading import Reading
from tests.integration.edge.buffer.buffers import (
    ID_STEP,
    START_US,
    alter,
    cut_all,
    losses,
    peek,
    rows_of,
    store_at,
)

_S = 1_000_000
_TRUE_US = START_US - 3_600 * _S
_WEEKS_US = 2**44
_Times = list[tuple[int, int, int]]


async def _written(folder: Path, *offsets_us: int, truth: int | None = _TRUE_US, then: int | None = None) -> None:
    """One commit a second, each by a clock with the next of `offsets_us`; the truth becomes `then` after the last."""
    known = [truth]
    store = store_at(folder, boot_id="first", truth=lambda: known[0])
    await store.open()
    for number, offset_us in enumerate(offsets_us, 1):
        time_us = START_US + number * _S + offset_us - _TRUE_US
        await store.commit([Reading("meter", time_us, {"energy_import_wh": number}, 0, 1000)], offset_us=offset_us)
    if then is not None:
        known[0] = then
        await store.commit([])
        await store.commit([Reading("later", START_US + 60 * _S, {"energy_import_wh": 60}, 0, 1000)], offset_us=then)
    await store.close()


async def _arrives(folder: Path) -> _Times:
    """Register, seconds after the start and flags of all that is sent after the next start of the machine."""
    store: Store = store_at(folder, boot_id="second", truth=lambda: _TRUE_US)
    await store.open()
    found = [
        (int(str(values["energy_import_wh"])), (time_us - START_US) // _S, flags)
        for batch in await cut_all(store)
        for _, time_us, values, flags in rows_of(batch)
    ]
    await store.close()
    return sorted(found)


@pytest.mark.parametrize(
    "damage",
    [
        f"boot = boot - {_WEEKS_US}",
        "boot = 1",
        f"offset_us = offset_us + {_WEEKS_US}",
        f"boot = boot - {_WEEKS_US}, offset_us = offset_us - {_WEEKS_US}",
        "level = 1",
        "readings = 7",
        f"first_us = first_us - {_WEEKS_US}",
        f"last_us = last_us + {_WEEKS_US}",
        f"id = {2 * ID_STEP + 3}",
        "seal = seal + 1",
    ],
)
async def test_a_number_that_was_altered_moves_no_reading_and_costs_none(tmp_path: Path, damage: str) -> None:
    """E21, E27: SQLite finds nothing wrong with it, and the readings were sent as those of another month."""
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    for folder in (whole, damaged):
        await _written(folder, *[_TRUE_US - 7_200 * _S] * 3)
    alter(damaged, f"UPDATE segment SET {damage} WHERE id = {2 * ID_STEP}")
    expected = await _arrives(whole)
    assert [(number, seconds) for number, seconds, _ in expected] == [(1, 1), (2, 2), (3, 3)]
    assert await _arrives(damaged) == expected
    assert losses(damaged) == []


async def test_a_reading_of_which_nobody_can_say_any_more_when_it_was_is_told_as_lost(tmp_path: Path) -> None:
    """E21, E27: by the number that is there now it was in another month."""
    await _written(tmp_path, _TRUE_US, _TRUE_US - 7_200 * _S, _TRUE_US)
    alter(tmp_path, f"UPDATE segment SET offset_us = offset_us + {_WEEKS_US} WHERE id = {2 * ID_STEP}")
    assert [(number, seconds) for number, seconds, _ in await _arrives(tmp_path)] == [(1, 1), (3, 3)]
    assert [row[:2] for row in losses(tmp_path)] == [("damaged", 1)]


@pytest.mark.parametrize(
    "damage",
    [f"offset_us = offset_us - {_WEEKS_US}", "offset_us = NULL", "seal = seal + 1", "boot_id = 'fir3t'", "id = 7"],
)
async def test_the_truth_of_a_boot_that_was_altered_is_found_in_others_of_that_boot(
    tmp_path: Path, damage: str
) -> None:
    """E21, E27: readings from before anybody knew the time have it from there alone."""
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    for folder in (whole, damaged):
        await _written(folder, 0, 0, truth=None, then=_TRUE_US)
    assert peek(damaged, "SELECT count(*) FROM segment WHERE boot = 1") == [(2,)]
    alter(damaged, f"UPDATE boot SET {damage} WHERE id = 1")
    expected = await _arrives(whole)
    assert [(number, seconds) for number, seconds, _ in expected] == [(1, 1), (2, 2), (60, 60)]
    found = await _arrives(damaged)
    if damage == "id = 7":
        # Then nothing of that boot is known: they keep the time that the clock showed.
        assert found[-1:] == expected[-1:]
        assert [(number, seconds) for number, seconds, _ in found[:2]] == [
            (number, (number * _S + START_US - _TRUE_US - START_US) // _S) for number in (1, 2)
        ]
    else:
        assert found == expected


async def test_a_byte_of_the_one_truth_of_a_boot_that_was_altered_is_set_right(tmp_path: Path) -> None:
    """E21, E27"""
    known: list[int | None] = [None]
    store = store_at(tmp_path, boot_id="first", truth=lambda: known[0])
    await store.open()
    await store.commit([Reading("meter", 5 * _S, {"energy_import_wh": 1}, 0, 1000)], offset_us=0)
    known[0] = _TRUE_US
    await store.commit([])
    await store.close()
    alter(tmp_path, f"UPDATE boot SET offset_us = {_TRUE_US ^ 2**42} WHERE id = 1")
    assert [(number, seconds) for number, seconds, _ in await _arrives(tmp_path)] == [
        (1, (5 * _S + _TRUE_US - START_US) // _S)
    ]


async def test_a_boot_that_is_there_too_is_not_believed_before_the_seal(tmp_path: Path) -> None:
    """E21, E27: two boots in 1970 have the same offset, and one bit makes one of the other."""
    for boot_id, truth in (("one", _TRUE_US), ("two", _TRUE_US + 9_000 * _S), ("three", _TRUE_US + 20_000 * _S)):
        known: list[int | None] = [None]
        store = store_at(tmp_path, boot_id=boot_id, truth=lambda known=known: known[0])
        await store.open()
        await store.commit([Reading(boot_id, 5 * _S, {"energy_import_wh": 1}, 0, 1000)], offset_us=0)
        known[0] = truth
        await store.commit([])
        await store.close()
    assert peek(tmp_path, "SELECT boot FROM segment ORDER BY id") == [(1,), (2,), (3,)]
    alter(tmp_path, f"UPDATE segment SET boot = 3 WHERE id = {2 * ID_STEP}")
    store = store_at(tmp_path, boot_id="four", truth=lambda: _TRUE_US)
    await store.open()
    times = {device: time_us for batch in await cut_all(store) for device, time_us, _, _ in rows_of(batch)}
    await store.close()
    assert times["two"] == 5 * _S + _TRUE_US + 9_000 * _S


@pytest.mark.parametrize("table", ["segment", "note"])
async def test_a_body_that_became_a_text_ends_nobody(tmp_path: Path, table: str) -> None:
    """E21: one bit says of bytes that they are text, and no check finds anything wrong with that."""
    await _written(tmp_path, _TRUE_US, _TRUE_US)
    if table == "note":
        with closing(sqlite3.connect(tmp_path / "buffer.sqlite")) as db, db:
            db.execute("INSERT INTO note (body) VALUES (x'ff00ff')")
    alter(tmp_path, f"UPDATE {table} SET body = CAST(body AS TEXT) WHERE id = (SELECT max(id) FROM {table})")
    expected = [(1, 1)] if table == "segment" else [(1, 1), (2, 2)]
    assert [(number, seconds) for number, seconds, _ in await _arrives(tmp_path)] == expected


async def test_definitions_that_name_more_than_the_memory_holds_are_damaged(tmp_path: Path) -> None:
    """E21: the gateway ended, and ended again at each start."""
    await _written(tmp_path, _TRUE_US, _TRUE_US)
    path = tmp_path / "buffer.sqlite"
    content = path.read_bytes()
    found = []
    for at in range(100, 4096, 16):
        path.write_bytes(content[:at] + b"\xff" * 16 + content[at + 16 :])
        found.append([number for number, _, _ in await _arrives(tmp_path)])
        for name in os.listdir(tmp_path):
            (tmp_path / name).unlink()
    # Of what is overwritten there, the rows of readings are none.
    assert [numbers for numbers in found if numbers != [1, 2]] == []


async def test_what_counts_the_ids_of_boots_may_be_gone(tmp_path: Path) -> None:
    """E21: opened and closed again for ever, and nothing was committed."""
    await _written(tmp_path, _TRUE_US, _TRUE_US)
    path = tmp_path / "buffer.sqlite"
    content = path.read_bytes()
    at = content.index(b"sqlite_sequence", 100)
    path.write_bytes(content[:at] + b"\xff" + content[at + 1 :])
    assert [(number, seconds) for number, seconds, _ in await _arrives(tmp_path)] == [(1, 1), (2, 2)]


async def test_a_bit_that_makes_a_receipt_of_none_is_no_receipt(tmp_path: Path) -> None:
    """E21, E22: when room was made, readings went that nobody had."""
    await _written(tmp_path, _TRUE_US, _TRUE_US)
    store = store_at(tmp_path, boot_id="first", truth=lambda: _TRUE_US)
    await store.open()
    assert len(await cut_all(store)) == 1
    await store.close()
    alter(tmp_path, "UPDATE batch SET receipt_us = 0")
    assert [number for number, _, _ in await _arrives(tmp_path)] == [1, 2]


async def test_a_batch_whose_row_ends_before_it_begins_brings_no_reading_twice(tmp_path: Path) -> None:
    """E21, E22"""
    await _written(tmp_path, _TRUE_US, _TRUE_US, _TRUE_US)
    store = store_at(tmp_path, boot_id="first", truth=lambda: _TRUE_US)
    await store.open()
    await cut_all(store)
    await store.close()
    alter(tmp_path, f"UPDATE batch SET last_id = first_id - {ID_STEP} WHERE id = (SELECT max(id) FROM batch)")
    await _arrives(tmp_path)
    assert [number for number, _, _ in await _arrives(tmp_path)] == [1, 2, 3]


async def test_the_truth_in_the_row_of_a_batch_that_was_altered_is_not_believed(tmp_path: Path) -> None:
    """E21, E27: readings from before anybody knew the time went to another month with it."""
    await _written(tmp_path, 0, 0, truth=None, then=_TRUE_US)
    store = store_at(tmp_path, boot_id="first", truth=lambda: _TRUE_US)
    await store.open()
    before = [row for batch in await cut_all(store) for row in rows_of(batch)]
    await store.close()
    alter(tmp_path, f"UPDATE batch SET true_us = true_us - {_WEEKS_US}")
    store = store_at(tmp_path, boot_id="second", truth=lambda: _TRUE_US)
    await store.open()
    await cut_all(store)
    after = [row for batch in await cut_all(store) for row in rows_of(batch)]
    await store.close()
    assert sorted(map(str, after)) == sorted(map(str, before))
