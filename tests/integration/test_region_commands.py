"""`segs-cloud region`: made, changed, with what they carry by time, and gone again if nothing was in them."""

import json
import subprocess
from collections.abc import Callable

import psycopg
import pytest

from tests.integration.conftest import SegsCloud

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(segs_cloud: SegsCloud) -> Run:
    return lambda *arguments: segs_cloud("region", *arguments)


def test_a_region_is_made_changed_and_removed(run: Run, segs_cloud: SegsCloud, telemetry_db: str) -> None:
    assert run("set", "west", "--name", "The west").stderr == "west is made: The west, UTC.\n"
    assert run("set", "west", "--timezone", "Europe/Paris").stderr == "west is changed: The west, Europe/Paris.\n"
    assert run("set", "west").stderr == "west is so already: The west, Europe/Paris.\n"
    told = run("capacity", "west", "2e6", "--from", "2026-01-01T00:00Z").stderr
    assert told == "west: 2,000,000 W from 2026-01-01T00:00:00Z.\n"
    told = run("capacity", "west", "1e6", "--from", "2025-01-01T00:00Z").stderr.splitlines()
    assert told == [
        "west: 1,000,000 W from 2025-01-01T00:00:00Z to 2026-01-01T00:00:00Z.",
        "west: 2,000,000 W from 2026-01-01T00:00:00Z.",
    ]
    [listed] = json.loads(run("list", "--json").stdout)
    assert (listed["region"], listed["capacity_w"], listed["capacity_since"]) == ("west", 2e6, "2026-01-01T00:00:00Z")
    assert run("list").stdout.splitlines()[2].split()[:4] == ["west", "The", "west", "Europe/Paris"]
    with psycopg.connect(telemetry_db) as telemetry:
        assert telemetry.execute("SELECT count(*) FROM capacity_registry").fetchone() == (2,)

    segs_cloud("gateway", "add", "attic")
    options = ("--region", "west", "--model", "x", "--interval-ms", "1000")
    assert segs_cloud("gateway", "device", "add", "attic", "m", *options).returncode == 0
    stays = run("remove", "west")
    assert (
        stays.returncode,
        stays.stderr.startswith("segs-cloud: region west stays, for it is named by 1 meters"),
    ) == (
        1,
        True,
    )
    assert run("set", "east").returncode == 0
    assert run("remove", "east").stderr == "east is removed.\n"
    for command in (("remove", "east"), ("capacity", "east", "5")):
        unknown = run(*command)
        assert (unknown.returncode, unknown.stderr) == (
            1,
            "segs-cloud: there is no region east; there is west\n",
        )
    assert run("capacity", "west", "5", "--from", "2999-01-01T00:00Z").returncode == 1
