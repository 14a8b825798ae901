"""A damaged file and its log have two names: what a power cut between the two leaves."""

from pathlib import Path

import pytest

from tests.integration.edge.buffer.buffers import copied, kept, opened, reading


@pytest.mark.parametrize("header", [True, False])
async def test_a_power_cut_between_the_file_and_its_log_costs_nothing(fast_path: Path, header: bool) -> None:
    """E21: the log was named already, and holds the newest commits."""
    first = fast_path / "first"
    first.mkdir()
    async with opened(first) as store:
        for number in range(40):
            await store.commit([reading(number)])
        await store._look(lambda db: db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall())
        for number in range(40, 60):
            await store.commit([reading(number)])
        folder = copied(first, fast_path / "killed")
    path = folder / "buffer.sqlite"
    if not header:
        path.write_bytes(bytes(100) + path.read_bytes()[100:])
    path.with_name("buffer.sqlite-wal").rename(folder / "buffer.sqlite.unread-7-wal")
    async with opened(folder):
        numbers = sorted(int(str(one.values["energy_import_wh"])) for one in kept(folder))
    assert numbers == list(range(60))
    assert (folder / "buffer.sqlite.damaged-7").exists()
