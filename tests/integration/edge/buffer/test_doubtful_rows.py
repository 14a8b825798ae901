"""Rows of batches that say something else than what was cut: no reading goes for another's receipt."""

from pathlib import Path

from tests.integration.edge.buffer.buffers import (
    ID_STEP,
    Time,
    alter,
    cut_all,
    opened,
    peek,
    reading,
    registers,
    settle_all,
)


async def test_a_receipt_is_not_for_segments_that_a_damaged_row_names_besides(tmp_path: Path) -> None:
    """E21, E22: confirmed, the reading that was never sent was deleted."""
    time = Time()
    async with opened(tmp_path, clock=time.clock) as store:
        await store.commit([reading(1)])
        await settle_all(store)
        await store.commit([reading(2)])
    alter(tmp_path, "UPDATE batch SET last_id = last_id + ?", ID_STEP)
    async with opened(tmp_path, clock=time.clock) as store:
        time.forward(1)
        await store.confirm([(1, 1)], keep_s=0, asked_us=time.now_us)
        await store.commit([])
        await cut_all(store)
        assert 2 in registers(await cut_all(store))


async def test_an_id_that_a_batch_has_named_is_given_to_no_other_segment(tmp_path: Path) -> None:
    """E21, E22: a reading in the place of one that is gone was taken for it, and for delivered."""
    time = Time()
    async with opened(tmp_path, clock=time.clock) as store:
        await store.commit([reading(1)])
        await settle_all(store)
    alter(tmp_path, "DELETE FROM segment")
    for numbers in ([2], []):
        async with opened(tmp_path, clock=time.clock) as store:
            await store.commit([reading(number) for number in numbers])
            time.forward(1)
            await store.confirm([(1, 1)], keep_s=0, asked_us=time.now_us)
            await store.commit([])
    assert peek(tmp_path, "SELECT id FROM segment") == [(2 * ID_STEP,)]
