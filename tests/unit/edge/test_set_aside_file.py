import os
from pathlib import Path

from edge.set_aside_file import SetAsideFile


async def test_what_was_set_aside_is_known_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "set-aside.json"
    kept = SetAsideFile(file)
    await kept.keep("main", "a1", {"4:0x0034", "4:0x0008"})
    await kept.keep("other", "b2", {"3:0x0001"})
    again = SetAsideFile(file)
    assert again.of("main", "a1") == {"4:0x0008", "4:0x0034"}
    assert again.of("other", "b2") == {"3:0x0001"}
    assert os.listdir(tmp_path) == [file.name]


async def test_another_profile_is_asked_in_full(tmp_path: Path) -> None:
    kept = SetAsideFile(tmp_path / "set-aside.json")
    await kept.keep("main", "a1", {"4:0x0034"})
    assert kept.of("main", "a2") == frozenset()


async def test_a_damaged_file_or_a_folder_that_takes_none_ends_nothing(tmp_path: Path) -> None:
    """E21"""
    damaged = tmp_path / "set-aside.json"
    for content in (b"", b'{"main": {"profile": 1}}', b"\xff\xfe{", b'{"main": [}'):
        damaged.write_bytes(content)
        kept = SetAsideFile(damaged)
        assert kept.of("main", "a1") == frozenset()
    await kept.keep("main", "a1", {"4:0x0034"})
    assert SetAsideFile(damaged).of("main", "a1") == {"4:0x0034"}
    taken = SetAsideFile(tmp_path / "taken")
    (tmp_path / "taken" / "folder").mkdir(parents=True)
    await taken.keep("main", "a1", {"4:0x0034"})
    assert sorted(os.listdir(tmp_path)) == ["set-aside.json", "taken"]
    nowhere = SetAsideFile(tmp_path / "missing" / "set-aside.json")
    await nowhere.keep("main", "a1", {"4:0x0034"})
    assert nowhere.of("main", "a1") == {"4:0x0034"}
