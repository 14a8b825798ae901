"""A power cut for one folder: what its files' last changes did is undone, but for what was synced before.

The model is a Linux file system on a disk with a volatile cache. What fsync or fdatasync of a file returned for is
kept. Of the writes since, any subset may have reached the disk, in sectors of 512 bytes, in any order. Names (create,
rename, unlink) and lengths (truncate) go through the file system's journal: they survive up to some one of them and not
beyond, unless their folder, or for a created file the file itself, was synced since. SQLite's shared memory is gone.
"""

import os
import random
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.torture.shim import Shim

Mode = Literal["all", "some", "torn"]
"""What becomes of unsynced writes: all lost, some whole ones kept, some sectors kept."""
MODES: tuple[Mode, ...] = ("all", "some", "torn")
_RECORD = struct.Struct("<IIQQqqq")
_SECTOR = 512
_WRITTEN, _TRUNCATED, _SYNCED, _CREATED, _RENAMED, _UNLINKED, _FOLDER_SYNCED = range(1, 8)


@dataclass(slots=True)
class _Change:
    """One change that is not synced.

    A write of `length` bytes at `offset`, or a truncation to `offset`, of a file that had `size_before` bytes; `data`
    is what was overwritten or cut off, later what was written. Of other changes `names` has the paths: created; old,
    new, grave of what was replaced; unlinked, grave.
    """

    kind: int
    sequence: int
    inode: int
    offset: int
    length: int
    size_before: int
    data: bytes = b""
    names: list[str] = field(default_factory=list)

    @property
    def of_data(self) -> bool:
        return self.kind == _WRITTEN


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many changes were not synced, and how many of them were undone."""

    unsynced: int
    undone: int


def cut(shim: Shim, *, mode: Mode, chance: random.Random) -> Outcome:
    """Undo what is not synced in the shim's folder; its process is dead. What is left is as good as synced."""
    assert shim.folder is not None
    assert shim.log is not None
    assert not shim.untracked, "a file of the folder was changed behind the log's back"
    changes = _unsynced(shim.log)
    ordered = [change for change in changes if not change.of_data]
    kept_names = 0 if mode == "all" else chance.randint(0, len(ordered))
    barrier = ordered[kept_names].sequence if kept_names < len(ordered) else float("inf")
    survives = {
        id(change): (mode != "all" and chance.random() < 0.5) if change.of_data else change.sequence < barrier
        for change in changes
    }
    files = _open_files(shim)
    try:
        for change in reversed(changes):
            _undo(change, files, keep_name=survives[id(change)])
        for change in changes:
            if survives[id(change)]:
                _redo(change, files, torn=chance if mode == "torn" else None)
    finally:
        for descriptor in files.values():
            os.close(descriptor)
    for shared in shim.folder.rglob("*-shm"):
        shared.unlink()
    forget(shim)
    return Outcome(len(changes), sum(not kept for kept in survives.values()))


def forget(shim: Shim) -> None:
    """The folder is as it is: nothing of it can be undone any more."""
    assert shim.log is not None
    assert shim.graveyard is not None
    shim.log.unlink(missing_ok=True)
    shutil.rmtree(shim.graveyard, ignore_errors=True)
    shim.graveyard.mkdir()


def compact(shim: Shim) -> None:
    """Drop from the log what is synced by now; its process is dead."""
    assert shim.log is not None
    assert shim.graveyard is not None
    changes = _unsynced(shim.log)
    fresh = shim.log.with_name(f"{shim.log.name}.new")
    with fresh.open("wb") as file:
        for change in changes:
            body = b"".join(name.encode() + b"\0" for name in change.names) or change.data
            numbers = (change.sequence, change.inode, change.offset, change.length, change.size_before)
            file.write(_RECORD.pack(change.kind, len(body), *numbers) + body)
    fresh.replace(shim.log)
    used = {name for change in changes for name in change.names}
    for grave in shim.graveyard.iterdir():
        if str(grave) not in used:
            grave.unlink()


def _unsynced(log: Path) -> list[_Change]:
    """The changes of `log` that are not synced, in their order."""
    alive: list[_Change] = []
    for change in _read(log):
        if change.kind == _SYNCED:
            alive = [c for c in alive if not _covers_file(change, c)]
        elif change.kind == _FOLDER_SYNCED:
            alive = [c for c in alive if not _covers_names(change, c)]
        else:
            alive.append(change)
    return alive


def _covers_file(sync: _Change, change: _Change) -> bool:
    return (
        change.inode == sync.inode and change.sequence < sync.offset and change.kind in (_WRITTEN, _TRUNCATED, _CREATED)
    )


def _covers_names(sync: _Change, change: _Change) -> bool:
    if change.kind not in (_CREATED, _RENAMED, _UNLINKED) or change.sequence >= sync.offset:
        return False
    return os.path.dirname(change.names[0]) == sync.names[0]


def _read(log: Path) -> Iterator[_Change]:
    """The lines of `log`; the last may be torn, and then its change was not made."""
    if not log.exists():
        return
    content = log.read_bytes()
    at = 0
    while at + _RECORD.size <= len(content):
        kind, size, sequence, inode, offset, length, size_before = _RECORD.unpack_from(content, at)
        at += _RECORD.size
        body = content[at : at + size]
        at += size
        if len(body) < size:
            return
        change = _Change(kind, sequence, inode, offset, length, size_before)
        if kind in (_WRITTEN, _TRUNCATED):
            change.data = body
        else:
            change.names = [name.decode() for name in body.split(b"\0")][:-1]
        yield change


def _open_files(shim: Shim) -> dict[int, int]:
    """A descriptor for each file of folder and graveyard, by its inode."""
    files: dict[int, int] = {}
    for place in (shim.folder, shim.graveyard):
        assert place is not None
        for path in place.rglob("*"):
            if path.is_file() and not path.is_symlink():
                inode = path.stat().st_ino
                if inode not in files:
                    files[inode] = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    return files


def _undo(change: _Change, files: dict[int, int], *, keep_name: bool) -> None:
    descriptor = files.get(change.inode)
    if change.kind == _WRITTEN and descriptor is not None:
        written = os.pread(descriptor, change.length, change.offset)
        os.pwrite(descriptor, change.data, change.offset)
        if change.offset + change.length > change.size_before:
            os.ftruncate(descriptor, change.size_before)
        change.data = written
    elif change.kind == _TRUNCATED and descriptor is not None:
        os.ftruncate(descriptor, change.size_before)
        os.pwrite(descriptor, change.data, change.offset)
    elif not keep_name:
        _undo_name(change)


def _undo_name(change: _Change) -> None:
    match change.kind, change.names:
        case k, [path] if k == _CREATED:
            Path(path).unlink(missing_ok=True)
        case k, [old, new, grave] if k == _RENAMED:
            if os.path.exists(new):
                os.rename(new, old)
            if grave:
                os.link(grave, new)
        case k, [path, grave, _] if k == _UNLINKED and not os.path.exists(path):
            os.link(grave, path)


def _redo(change: _Change, files: dict[int, int], *, torn: random.Random | None) -> None:
    descriptor = files.get(change.inode)
    if descriptor is None:
        return
    if change.kind == _TRUNCATED:
        os.ftruncate(descriptor, change.offset)
    elif change.kind == _WRITTEN:
        for offset, piece in _sectors(change.offset, change.data):
            if torn is None or torn.random() < 0.5:
                os.pwrite(descriptor, piece, offset)


def _sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """`data` in pieces that lie in one sector of the file each."""
    at = 0
    while at < len(data):
        size = min(_SECTOR - (offset + at) % _SECTOR, len(data) - at)
        yield offset + at, data[at : at + size]
        at += size
