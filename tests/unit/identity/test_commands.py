"""`segs-cloud keys`, as an operator runs it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from cloud.identity.keys import KeyFolder
from tests.commands import segs_cloud


def _run(path: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    with pytest.MonkeyPatch.context() as at:
        for name in os.environ:
            if name.startswith("SEGS_"):
                at.delenv(name)
        return segs_cloud("keys", *arguments, environment={} if path is None else {"SEGS_KEYS": str(path)})


def test_keys_are_created_rotated_and_listed(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    first = _run(path, "create")
    second = _run(path, "rotate")
    third = _run(path, "rotate", "--after-s", "0")
    listed = json.loads(_run(path, "list", "--json").stdout)

    assert (first.returncode, second.returncode, third.returncode) == (0, 0, 0)
    states = {row["kid"]: row["state"] for row in listed}
    assert states == {first.stdout.strip(): "replaced", third.stdout.strip(): "signs", second.stdout.strip(): "waits"}
    assert list(states) == sorted(KeyFolder(path).current().signing)
    assert "signs" in _run(path, "list").stdout


def test_what_cannot_be_done_ends_in_one_line(tmp_path: Path, path: Path) -> None:
    for done, status, told in (
        (_run(None, "create"), 2, "SEGS_KEYS names no folder"),
        (_run(tmp_path / "none", "list"), 2, "segs-cloud keys create"),
        (_run(tmp_path / "none", "rotate"), 2, "segs-cloud keys create"),
        (_run(path, "create"), 1, "has keys already"),
    ):
        assert (done.returncode, done.stdout) == (status, "")
        assert told in done.stderr
        assert done.stderr.count("\n") == 1


def test_no_command_shows_a_secret(path: Path) -> None:
    secrets = [line for file in path.iterdir() for line in file.read_text().splitlines() if "-----" not in line]
    done = [_run(path, *words) for words in (("list",), ("list", "--json"), ("rotate",), ("create",))]

    assert not any(secret in one.stdout + one.stderr for secret in secrets for one in done)
