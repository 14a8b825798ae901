"""compose.yaml: confined, loopback only, no default password; its files are those that our programs accept."""

import hashlib
import hmac
import os
import re
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

import firmware_sim.fleet
from cloud.gateways.devices import read_devices
from edge.config.load import load
from local.servers import PostgresServer

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOTS = {"databases", "schema", "gateway", "keys"}
each_service = pytest.mark.parametrize("name", SERVICES)


@each_service
def test_a_container_can_write_volumes_and_tmp_only_and_gains_no_rights(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")
    assert "build" in service or service["user"].split(":")[0] not in ("0", "root")


@each_service
def test_ports_are_bound_to_loopback(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@each_service
def test_images_are_pinned_and_passwords_have_no_default(name: str) -> None:
    service = SERVICES[name]

    assert "build" in service or re.search(r":\d+\.\d+\.\d+", service["image"])
    for key, value in service.get("environment", {}).items():
        if "PASSWORD" in key or "DSN" in key:
            assert re.search(r"\$\{SEGS_(DB|INGEST|API|WORKER)_PASSWORD:\?", value)


@each_service
def test_everything_that_stays_up_is_checked_and_everything_waited_for_exists(name: str) -> None:
    service = SERVICES[name]

    assert (name in ONE_SHOTS) != ("healthcheck" in service)
    assert (name in ONE_SHOTS) != (service.get("restart") == "unless-stopped")
    for other, wait in service.get("depends_on", {}).items():
        assert wait["condition"] == ("service_completed_successfully" if other in ONE_SHOTS else "service_healthy")


def test_only_schema_and_registration_hold_the_owners_password() -> None:
    holders = {name for name, service in SERVICES.items() if "SEGS_DB_PASSWORD" in str(service.get("environment", {}))}

    assert holders == {"postgres", *ONE_SHOTS} - {"keys"}


def test_the_api_has_its_role_its_keys_and_no_mode_that_shows_codes() -> None:
    """D10: no default secret, and no code in an answer unless somebody asks for it."""
    api, keys = SERVICES["api"], SERVICES["keys"]

    assert api["environment"]["SEGS_ENV"] == "${SEGS_ENV:-production}"
    assert api["environment"]["SEGS_TRUSTED_PROXIES"] == "${SEGS_TRUSTED_PROXIES:-}"
    assert "segs_api:${SEGS_API_PASSWORD:?" in api["environment"]["SEGS_DOMAIN_DSN"]
    assert [volume["read_only"] for volume in api["volumes"]] == [True]
    assert keys["volumes"] == [f"api-keys:{api['environment']['SEGS_KEYS']}"]
    assert keys["network_mode"] == "none"
    assert {name for name, service in SERVICES.items() if "api-keys" in str(service.get("volumes"))} == {"api", "keys"}


@pytest.mark.parametrize("before", [False, True])
def test_keys_are_made_once_and_stay(tmp_path: Path, before: bool) -> None:
    folder = tmp_path / "keys"
    environment = {
        **os.environ,
        "SEGS_KEYS": str(folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    made = set()
    for _ in range(1 + before):
        done = subprocess.run(SERVICES["keys"]["command"], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        made.add(frozenset(path.name for path in folder.iterdir()))

    assert len(made) == 1


def test_the_database_is_reached_by_the_clouds_processes_only() -> None:
    assert COMPOSE["networks"]["backend"]["internal"] is True
    assert SERVICES["postgres"]["networks"] == ["backend"]
    assert not {"mosquitto", "simulator", "edge"} & {
        n for n, s in SERVICES.items() if "backend" in s.get("networks", [])
    }


def test_every_mounted_file_is_there_and_used() -> None:
    used = {config["source"] for service in SERVICES.values() for config in service.get("configs", [])}

    assert used == set(COMPOSE["configs"]) == {path.name for path in (ROOT / "compose").iterdir()}
    assert all((ROOT / config["file"]).is_file() for config in COMPOSE["configs"].values())


def test_every_command_of_ours_is_a_script_that_the_package_installs() -> None:
    scripts = re.findall(r"^(segs[a-z-]*) = ", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)

    for service in SERVICES.values():
        if "build" in service and service["command"][0] != "sh":
            assert service["command"][0] in scripts


def test_gateway_simulator_and_registration_speak_of_the_same_meters() -> None:
    gateway = load(ROOT / "compose" / "edge.toml")
    fleet = firmware_sim.fleet.load(ROOT / "compose" / "fleet.toml")
    registered = read_devices(ROOT / "compose" / "devices.csv", region=None, timezone="UTC")

    polled = {(key, profile) for key, profile, _ in gateway.devices()}

    assert polled == {(device.device, device.model) for device in registered}
    assert {key for key, _ in polled} == {meter.name for meter in fleet.meters()}


def test_the_images_copy_nothing_that_the_ignore_file_keeps_out() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Containerfile").read_text("utf-8"), re.MULTILINE)
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)

    assert {name for line in copied for name in line.split()} == set(allowed)
    assert all((ROOT / name).exists() for name in allowed)
    assert re.findall(r"^USER (\S+)$", (ROOT / "Containerfile").read_text("utf-8"), re.MULTILINE) == ["10001:10001"] * 2


def test_the_database_script_runs_twice_and_the_second_time_changes_the_password(tmp_path: Path) -> None:
    """On a server of its own, since roles belong to the whole cluster."""
    with PostgresServer(data_dir=tmp_path / "pg", bound_to_parent=True) as server:
        for password in ("first1", "second2"):
            _psql(server, SEGS_INGEST_PASSWORD=password, SEGS_API_PASSWORD=password, SEGS_WORKER_PASSWORD=password)

        with psycopg.connect(server.dsn(), autocommit=True) as cluster:
            databases = {row[0] for row in cluster.execute("SELECT datname FROM pg_database")}
            stored = dict(
                cluster.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolname ~ '^segs_'").fetchall()
            )

    assert {"segs_domain", "segs_telemetry"} <= databases
    assert stored.keys() == {"segs_ingest", "segs_api", "segs_worker"}
    assert all(_opens(str(verifier), "second2") for verifier in stored.values())


def _opens(verifier: str, password: str) -> bool:
    """Whether `verifier`, as PostgreSQL keeps it (RFC 5803), is that of `password`."""
    parts = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):.+", verifier)
    assert parts, verifier
    iterations, salt, stored = parts.groups()
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b64decode(salt), int(iterations))
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest() == b64decode(stored)


def _psql(server: PostgresServer, **environment: str) -> None:
    options = [word for word in SERVICES["databases"]["entrypoint"][1:-1] if word != "--file"]
    command = [
        server.installation.program("psql"),
        *options,
        "--file",
        ROOT / "compose" / "databases.sql",
        server.dsn(),
    ]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
