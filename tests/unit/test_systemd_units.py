"""The units keep what their comments promise: reasons, exposure, never giving up, and programs that run under them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.config.load import load
from edge.config.models import GatewayConfig

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "systemd").glob("*.service"))
DAEMONS = [unit for unit in UNITS if unit.stem != "segs-cloud-schema"]
SANDBOX = Path(__file__).with_name("systemd_sandbox.py")
CANNOT = 77
MAX_EXPOSURE = 2.0

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
each_daemon = pytest.mark.parametrize("unit", DAEMONS, ids=lambda unit: unit.stem)

# Everything compiled that a process of ours loads, and a turn of what they do: loop, thread, socket, SQLite, zstd.
WORKLOAD = """
import asyncio, concurrent.futures, mmap, socket, sqlite3, sys, tempfile
import httpx, msgspec, prometheus_client, pydantic, serial, structlog, tenacity, zstandard
if sys.argv[1] == "cloud":
    import argon2, fastapi, httptools, numpy, psycopg, psycopg_pool, pyarrow.parquet, uvicorn
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    assert len(Ed25519PrivateKey.generate().sign(b"x")) == 64
    assert argon2.PasswordHasher(memory_cost=1024).hash("x").startswith("$argon2id$")
    assert int(numpy.arange(10).sum()) == 45 and psycopg.pq.__impl__ == "binary"
import uvloop
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    pass
else:
    sys.exit("memory that is writable and executable was given out")
try:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
except OSError:
    pass
else:
    sys.exit("a netlink socket was given out")
class Model(pydantic.BaseModel):
    a: int
assert Model(a="3").a == 3 and msgspec.msgpack.decode(msgspec.msgpack.encode([1])) == [1]
assert zstandard.ZstdDecompressor().decompress(zstandard.ZstdCompressor().compress(b"x" * 99)) == b"x" * 99
def keep(path):
    db = sqlite3.connect(path, isolation_level=None)
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE t (x)"):
        db.execute(statement)
    db.close()
async def turn(folder):
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
    await asyncio.to_thread(keep, folder + "/b.sqlite")
    await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
    assert b"process_resident_memory_bytes" in prometheus_client.generate_latest()
with tempfile.TemporaryDirectory() as folder:
    asyncio.run(turn(folder))
with tempfile.TemporaryDirectory() as folder:
    uvloop.run(turn(folder))
"""


def _lines(unit: Path) -> list[str]:
    return unit.read_text("utf-8").splitlines()


def _settings(unit: Path) -> dict[str, str]:
    """The last value of every key; lines with several values are tested by name."""
    return dict(line.split("=", 1) for line in _lines(unit) if "=" in line and not line.startswith("#"))


def _seconds(value: str) -> float:
    return float(value.removesuffix("s"))


@each_unit
def test_every_line_has_its_reason_right_above_it(unit: Path) -> None:
    lines = _lines(unit)

    bare = [
        line
        for above, line in zip(["", *lines], lines, strict=False)
        if "=" in line[:40] and line[0] != "#" and not above.startswith("# ") and not line.startswith("Description=")
    ]

    assert bare == []


@needs_analyze
@each_unit
def test_exposure_is_at_most_two(unit: Path) -> None:
    report = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )

    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", report.stdout)

    assert found, report.stderr
    assert float(found[1]) <= MAX_EXPOSURE


@needs_analyze
@each_unit
def test_verify_complains_of_nothing_but_the_missing_program(unit: Path) -> None:
    report = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--no-pager", str(unit)], capture_output=True, text=True, check=False
    )

    complaints = [
        line
        for line in (report.stdout + report.stderr).splitlines()
        if not re.fullmatch(
            r"\S+: Command /opt/segs/current/bin/\S+ is not executable: No such file or directory", line
        )
    ]

    assert complaints == []


@each_unit
def test_a_unit_never_gives_up_starting(unit: Path) -> None:
    """E11: polling that stops for good after some error until someone restarts it."""
    settings = _settings(unit)

    assert settings["StartLimitIntervalSec"] == "0"
    assert settings["Restart"] == ("on-failure" if settings["Type"] == "oneshot" else "always")
    assert _seconds(settings["RestartSec"]) > 0


@each_daemon
def test_a_daemon_that_hangs_is_found_and_shows_its_stacks(unit: Path) -> None:
    """E11, C13: a process that is there and does nothing."""
    settings = _settings(unit)

    assert settings["Type"] == "notify"
    assert _seconds(settings["WatchdogSec"]) >= 30
    assert "Environment=PYTHONFAULTHANDLER=1" in _lines(unit)


def test_the_edge_is_given_longer_to_stop_than_it_takes_by_itself() -> None:
    """E18: what is in memory is lost at a clean stop too."""
    unit = _settings(ROOT / "systemd" / "segs-edge.service")

    assert _seconds(unit["TimeoutStopSec"]) >= 2 * GatewayConfig.model_fields["stop_timeout_s"].default


@each_unit
def test_secrets_are_named_files_of_root_and_never_in_the_unit(unit: Path) -> None:
    settings, tmpfiles = _settings(unit), (ROOT / "systemd" / "tmpfiles.d").glob("*.conf")
    secret = settings.get("EnvironmentFile") or f"/etc/credstore/{settings['LoadCredential']}"

    rules = [line.split() for file in tmpfiles for line in file.read_text("utf-8").splitlines() if "=" not in line]

    assert ["z", secret, "0600", "root", "root", "-"] in rules
    assert "postgresql://" not in unit.read_text("utf-8")


def test_a_gateway_without_its_key_is_started_all_the_same() -> None:
    """With a path in the line a missing file is fatal: meters go unread because readings cannot be sent."""
    unit = ROOT / "systemd" / "segs-edge.service"
    example = load(ROOT / "systemd" / "edge.toml")

    assert ":" not in _settings(unit)["LoadCredential"]
    assert example.uplink.key_file == f"/run/credentials/{unit.name}/{_settings(unit)['LoadCredential']}"
    assert example.gateway.data_dir == f"/var/lib/{_settings(unit)['StateDirectory']}"


def test_the_api_reads_its_keys_and_cannot_change_them() -> None:
    """D10. A folder of its account's own, read again at every rotation; credentials would be a copy."""
    settings = _settings(ROOT / "systemd" / "segs-cloud-api.service")
    rules = [line.split() for line in (ROOT / "systemd/tmpfiles.d/segs-cloud.conf").read_text("utf-8").splitlines()]

    assert "Environment=SEGS_KEYS=/etc/segs/keys" in _lines(ROOT / "systemd" / "segs-cloud-api.service")
    assert settings["ReadOnlyPaths"] == "/etc/segs"
    assert ["d", "/etc/segs/keys", "0700", "segs-api", "segs-api", "-"] in rules
    assert ["z", "/etc/segs/keys/*", "0600", "segs-api", "segs-api", "-"] in rules


@each_unit
def test_what_can_be_written_cannot_be_run(unit: Path) -> None:
    """Each of these is a mount of its own, which NoExecPaths=/ does not reach."""
    settings = _settings(unit)
    written = {"/etc/segs", "/tmp", "/var/tmp"}
    written |= {f"/var/lib/{settings['StateDirectory']}"} if "StateDirectory" in settings else set()

    assert set(settings["NoExecPaths"].split()) == {"/"} | written


def test_no_two_units_share_an_account_and_sysusers_makes_each() -> None:
    accounts = [_settings(unit)["User"] for unit in UNITS]
    made = {
        line.split()[1]
        for file in (ROOT / "systemd" / "sysusers.d").glob("*.conf")
        for line in file.read_text("utf-8").splitlines()
        if line.startswith("u ")
    }

    assert len(set(accounts)) == len(UNITS)
    assert set(accounts) == made


def test_a_late_database_does_not_leave_a_host_without_receiver_or_workers() -> None:
    """Requires= would fail them together with the schema, and nothing would start them again."""
    for name in ("segs-cloud-receiver.service", "segs-cloud-api.service", "segs-cloud-worker@.service"):
        lines = _lines(ROOT / "systemd" / name)

        assert "Wants=segs-cloud-schema.service" in lines
        assert "After=segs-cloud-schema.service" in lines
        assert not [line for line in lines if line.startswith(("Requires=", "BindsTo="))]


def test_a_gateway_may_ask_whether_its_clock_is_synchronized(tmp_path: Path) -> None:
    """E27: refused, it would have to take the time from the receiver alone."""
    unit = ROOT / "systemd" / "segs-edge.service"
    asks = "import ctypes; raise SystemExit(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) < 0)"

    run = subprocess.run(
        [sys.executable, str(SANDBOX), str(unit), sys.executable, "-c", asks],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=60,
    )

    if run.returncode == CANNOT:
        pytest.skip(run.stderr.strip())
    assert run.returncode == 0, run.stderr
    assert not [line for line in _lines(unit) if line.startswith("ProtectClock=")]


@each_unit
def test_what_the_programs_load_runs_under_the_units_system_call_filter(unit: Path, tmp_path: Path) -> None:
    kind = "edge" if unit.stem == "segs-edge" else "cloud"

    run = subprocess.run(
        [sys.executable, str(SANDBOX), str(unit), sys.executable, "-c", WORKLOAD, kind],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=60,
    )

    if run.returncode == CANNOT:
        pytest.skip(run.stderr.strip())
    assert run.returncode == 0, run.stderr
