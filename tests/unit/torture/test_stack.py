"""What is left of a torture: nothing where the books are right, everything where they are not."""

import socket
from pathlib import Path

import pytest

from tests.torture.stack import Stack


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What stacks say that have no process in them."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Stack, "_assemble", lambda stack: (stack.home / "journal").touch())
    return []


def _kept(home: Path, said: list[str]) -> bool:
    there = (home / "journal").exists()
    assert said == ([f"kept: {home}"] if there else [])
    return there


def test_a_run_that_was_right_leaves_nothing(said: list[str]) -> None:
    with Stack(seed=1, say=said.append) as stack:
        pass
    assert not _kept(stack.home, said)


def test_a_run_that_was_not_right_leaves_its_folder_and_says_where(said: list[str]) -> None:
    with Stack(seed=1, say=said.append) as stack:
        stack.keep = True
    assert _kept(stack.home, said)


@pytest.mark.parametrize(("error", "kept"), [(OSError, True), (KeyboardInterrupt, False)])
def test_a_run_that_fails_leaves_its_folder_and_one_that_is_interrupted_nothing(
    said: list[str], error: type[BaseException], kept: bool
) -> None:
    with pytest.raises(error), Stack(seed=1, say=said.append) as stack:
        raise error
    assert _kept(stack.home, said) is kept


def test_the_disk_of_the_gateway_is_kept_beyond_its_mount(said: list[str]) -> None:
    with Stack(seed=1, keep=True, say=said.append) as stack:
        disk = stack._small_disk()
        (disk / "buffer").touch()
        if stack.small_disk is None:
            pytest.skip("mounting a small disk needs root and the permission to mount")
    assert not disk.is_mount()
    assert (disk / "buffer").exists()


def test_a_socket_on_the_disk_keeps_nothing_else_from_being_kept(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway's own is there when it was killed."""
    with Stack(seed=1, keep=True, say=said.append) as stack, socket.socket(socket.AF_UNIX) as bound:
        disk = stack.home / "disk"
        disk.mkdir()
        (disk / "buffer.sqlite").touch()
        # By its bare name: the whole path may be longer than a socket's may be.
        monkeypatch.chdir(disk)
        bound.bind("status.sock")
        stack._unmount(disk)
    assert [path.name for path in (stack.home / "disk-kept").iterdir()] == ["buffer.sqlite"]
