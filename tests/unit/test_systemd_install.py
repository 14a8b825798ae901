"""The install page does what it says: what fills DESTDIR is run, what needs a real machine is checked."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from cloud.schema.apply import apply
from local.servers import PostgresServer

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs" / "install.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
INTO_DESTDIR = [block for block in BLOCKS if "$DESTDIR" in block]
# One worker runs these, so that the page is followed once.
pytestmark = pytest.mark.xdist_group("install")
ON_THE_MACHINE = [block for block in BLOCKS if "$DESTDIR" not in block]


def _run(block: str, destdir: Path) -> None:
    """`block` as a person types it, a first failure ending it."""
    folder = destdir.parent
    typed = block.replace(" gateway.key ", f" {folder}/gateway.key ")
    script = f"set -euo pipefail; umask 022; cd {shlex.quote(str(ROOT))}\n{typed}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "DESTDIR": str(destdir)},
    )
    if done.returncode and re.search("NewConnectionError|ConnectTimeoutError|Temporary failure in name", done.stderr):
        pytest.skip("pip reaches no package index from here")
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


def _installing() -> list[str]:
    return [block for block in INTO_DESTDIR if not block.startswith("rm ")]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root folder in which every command of the page that installs something was run, in order."""
    folder = tmp_path_factory.mktemp("install")
    (folder / "gateway.key").write_text("segs_" + "k" * 43 + "\n", "utf-8")
    destdir = folder / "root"
    for block in _installing():
        _run(block, destdir)
    return destdir


@pytest.mark.timeout(240)
def test_the_page_installs_everything_that_the_units_name(installed: Path) -> None:
    for unit in (ROOT / "systemd").glob("*.service"):
        there = installed / "etc/systemd/system" / unit.name
        program = re.search(r"^ExecStart=(\S+)", there.read_text("utf-8"), re.MULTILINE)
        file = re.search(r"^EnvironmentFile=(\S+)", there.read_text("utf-8"), re.MULTILINE)

        assert program
        assert os.access(installed / program[1].lstrip("/"), os.X_OK)
        assert not file or (installed / file[1].lstrip("/")).stat().st_mode & 0o777 == 0o600
    assert (installed / "etc/credstore/segs-gateway.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.timeout(240)
def test_the_installed_wheel_has_the_master_schemas_and_the_profiles(installed: Path) -> None:
    packages = next((installed / "opt/segs/current/lib").glob("python*")) / "site-packages"

    for folder in ("sql", "edge/profiles", "contract"):
        source = {
            p.relative_to(ROOT) for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts
        }
        assert {path for path in source if not (packages / path).is_file()} == set()


@pytest.mark.timeout(240)
def test_sysusers_and_tmpfiles_make_accounts_and_folders_of_the_right_owners(installed: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-sysusers") is None or os.geteuid() != 0:
        pytest.skip("systemd-sysusers is not installed, or this is not root, who alone may give files away")
    root = tmp_path / "root"
    shutil.copytree(installed / "usr", root / "usr")
    (root / "etc").mkdir()

    subprocess.run(["systemd-sysusers", f"--root={root}"], check=True, capture_output=True)
    subprocess.run(["systemd-tmpfiles", f"--root={root}", "--create"], check=True, capture_output=True)

    accounts = {line.split(":")[0]: line.split(":") for line in (root / "etc/passwd").read_text("utf-8").splitlines()}
    state = (root / "var/lib/segs-edge").stat()
    assert {"segs-edge", "segs-receiver", "segs-api", "segs-worker", "segs-schema"} <= accounts.keys()
    assert all(account[6].endswith("nologin") for account in accounts.values())
    keys = (root / "etc/segs/keys").stat()
    assert (state.st_uid, state.st_mode & 0o777) == (int(accounts["segs-edge"][2]), 0o750)
    assert (keys.st_uid, keys.st_mode & 0o777) == (int(accounts["segs-api"][2]), 0o700)


@pytest.mark.timeout(240)
def test_uninstalling_leaves_no_file_behind(installed: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(installed, root, symlinks=True, ignore=shutil.ignore_patterns("site-packages"))

    for block in INTO_DESTDIR:
        if block.startswith("rm "):
            _run(block, root)

    assert [path for path in root.rglob("*") if path.is_file() or path.is_symlink()] == []
    assert not (root / "etc/segs").exists()


@pytest.mark.parametrize("block", ON_THE_MACHINE)
def test_what_needs_a_real_machine_names_only_our_units_and_is_good_shell(block: str) -> None:
    units = {unit.name.removesuffix(".service") for unit in (ROOT / "systemd").glob("*.service")}

    subprocess.run(["bash", "-n", "-c", block], check=True)

    for name in re.findall(r"\b(segs-(?:edge|cloud-[a-z]+@?))(?=[\s'0-9*]|$)", block, re.MULTILINE):
        assert name in units | {"segs-edge"}


@pytest.mark.parametrize("block", [b for b in ON_THE_MACHINE if "/opt/segs/current/bin/" in b])
def test_commands_of_ours_on_the_page_exist_with_these_options(block: str) -> None:
    for line in re.findall(r"/opt/segs/current/bin/(segs-\S+ .*)", block):
        words = line.split()
        path = [
            w
            for w in words[1:]
            if re.fullmatch(r"gateway|device|add|import|list|status|check-config|keys|create|rotate|user", w)
        ]
        program = Path(sys.executable).with_name(words[0])
        shown = subprocess.run(
            [program, *path, "--help"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        )

        assert shown.returncode == 0, shown.stderr
        assert all(option in shown.stdout for option in words if option.startswith("--"))


def test_an_owner_who_is_no_superuser_can_apply_both_schemas(pg_server: PostgresServer) -> None:
    """The page's `createuser --createrole`."""
    names = {"domain": "install_domain", "telemetry": "install_telemetry"}
    with psycopg.connect(pg_server.dsn(), autocommit=True) as cluster:
        # Roles belong to the cluster and may be another owner's already, as they are where several tests share it.
        cluster.execute("CREATE ROLE install_owner LOGIN CREATEROLE")
        for name in names.values():
            cluster.execute(f"CREATE DATABASE {name} OWNER install_owner TEMPLATE template0")
        try:
            for database, name in names.items():
                assert apply(pg_server.dsn(name, user="install_owner"), database=database).before is None
        finally:
            for name in names.values():
                cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")
            cluster.execute("DROP ROLE install_owner")
