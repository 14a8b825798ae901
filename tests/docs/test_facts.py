"""What the pages say in prose and tables is what the program says: metrics, settings, variables, reasons, tests."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from typing import get_args, get_origin

import pytest
import typer
from prometheus_client import REGISTRY
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import cloud.api.app
import cloud.api.http.limits
import cloud.api.http.metrics
import cloud.cli
import cloud.connections
import cloud.ingest.routes
import cloud.workers.metrics
from cloud.ingest.receiver import Limits
from contract.batch import BatchError
from contract.codec import JSON, decode
from contract.quantities import QUANTITIES
from edge.buffer.state import BufferState
from edge.clock import Clock
from edge.config.models import Config
from edge.drivers.mqtt.state import BrokerState
from edge.drivers.sink import DeviceState
from edge.profiles import catalog
from edge.status.metrics import EdgeCollector
from edge.status.running import Running
from edge.uplink.state import UplinkState
from local.display import Display
from local.progress import Progress
from tests.docs.pages import ROOT, blocks, masked

OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
INSTALL = (ROOT / "docs" / "install.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


def _rows(text: str, heading: str, below: str = "") -> list[list[str]]:
    """Cells of the tables under a heading, or under one below it, without rules."""
    section = text.split(f"\n## {heading}\n", 1)[1]
    section = section.split(f"\n### {below}\n", 1)[1] if below else section
    section = re.split(r"^#+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|---")]


def _gateway_metrics() -> Iterator[str]:
    running = Running(
        pid=1,
        version="",
        started_us=0,
        written_us=0,
        devices=[DeviceState(device="main", interval_ms=1000, last_reading_us=1)],
        brokers=[BrokerState(broker="127.0.0.1:1883")],
        buffer=BufferState(),
        uplink=UplinkState(),
    )
    for family in EdgeCollector(running=lambda: running, clock=Clock()).collect():
        yield family.name + ("_total" if family.type == "counter" else "")


def _cloud_metrics() -> Iterator[str]:
    for family in REGISTRY.collect():
        if family.name.startswith("segs_"):
            yield family.name + ("_total" if family.type == "counter" else "")


def test_every_metric_is_documented_and_no_other() -> None:
    documented = set(
        re.findall(r"`(segs_[a-z0-9_]+)(?:\{[\w,]+\})?`", "|".join(row[0] for row in _rows(OPERATIONS, "Metrics")))
    )
    assert documented == {*_gateway_metrics(), *_cloud_metrics()}


def test_every_setting_of_the_gateway_is_documented_with_its_default() -> None:
    documented = {}
    for keys, default, *_ in _rows(OPERATIONS, "The gateway's configuration")[1:]:
        for key, value in zip(keys.split(", "), default.split(", ") * 2, strict=False):
            documented[key.strip("`")] = value
    assert documented == dict(_settings(Config, ""))


def _settings(model: type[BaseModel], trail: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        inner = _section(field)
        if inner is not None:
            yield from _settings(inner, f"{trail}{name}.")
        elif field.default is PydanticUndefined:
            yield trail + name, "required"
        else:
            yield trail + name, _written(field.default)


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    if get_origin(kind) is list:
        kind = get_args(kind)[0]
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _written(default: object) -> str:
    return "none" if default is None else f"{default:.10g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize("kind", ["modbus", "mqtt"])
def test_every_profile_is_named(kind: str) -> None:
    [row] = [row for row in _rows(OPERATIONS, "The gateway's configuration") if row[0] == f"`{kind}.device.profile`"]
    assert row[2].replace("`", "") == ", ".join(catalog.names(kind))


def test_every_variable_of_the_environment_is_documented() -> None:
    folders = ("cloud", "edge", "local", "firmware_sim", "bench")
    sources = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    sources += [ROOT / "Makefile", ROOT / "compose.yaml"]
    used = {name for file in sources for name in re.findall(r"\bSEGS_[A-Z]+(?:_[A-Z]+)*", file.read_text("utf-8"))}
    documented = {name for row in _rows(OPERATIONS, "Environment")[1:] for name in re.findall(r"`(SEGS_\w+)`", row[0])}
    assert documented == used


def test_every_command_of_the_cloud_is_told_in_a_page() -> None:
    pages = "".join(page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md")) + README
    commands = typer.main.get_group(cloud.cli.app).commands
    assert [name for name in commands if f"segs-cloud {name}" not in pages] == []


LIMITED = {
    "register": ("registering", 1),
    "code": ("codes, asked for or tried", 1),
    "refresh": ("refreshing tokens", 1),
    "proof": ("setting a password, by a proof or a code", 1),
    "login": ("logging in", 2),
    "password": ("the password once more, of who is logged in", 2),
}
"""Row and column that say it."""


def test_every_limit_of_the_api_is_in_the_table() -> None:
    told = {row[0]: row for row in _rows(OPERATIONS, "The API", "Limits")}
    limits = [found for found in vars(cloud.api.http.limits).values() if isinstance(found, cloud.api.http.limits.Limit)]
    assert {limit.name for limit in limits} == set(LIMITED)
    for limit in limits:
        row, column = LIMITED[limit.name]
        assert told[row][column] == f"{limit.capacity} at once, then {_pace(limit.per_s)}"


def _pace(per_s: float) -> str:
    every_s = round(1 / per_s)
    return f"{per_s:g} a second" if per_s > 1 else "one a minute" if every_s == 60 else f"one in {every_s} s"


def test_every_endpoint_of_telemetry_is_in_the_table() -> None:
    prefix = "/api/v1/telemetry/"
    paths = [path.removeprefix(prefix) for path in cloud.api.app.build(None).openapi()["paths"] if prefix in path]
    told = [cell for row in _rows(OPERATIONS, "The API")[1:] for cell in re.findall(r"`([^`?]+)[^`]*`", row[0])]
    named = [path.replace("{code}", "METER").replace("{region}", "REGION") for path in paths]
    assert sorted(named) == sorted(told)


def test_every_reason_of_the_quarantine_is_explained() -> None:
    table = re.findall(r"^\| `([a-z_]+)` \| the (?:reading|value)", ARCHITECTURE, re.MULTILINE)
    constraint = (ROOT / "sql" / "telemetry" / "tables" / "ingest.sql").read_text("utf-8")
    [allowed] = re.findall(r"CHECK \(reason IN \((.*?)\)\)", constraint, re.DOTALL)
    assert set(table) == set(re.findall(r"'(\w+)'", allowed))


def test_every_problem_of_the_receiver_is_explained() -> None:
    explained = re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \|", ARCHITECTURE, re.MULTILINE)
    kinds = cloud.ingest.errors.Refused.__subclasses__()
    assert {(int(status), problem) for status, problem in explained} == {(kind.status, kind.problem) for kind in kinds}


def test_the_example_of_a_problem_is_what_the_contract_says() -> None:
    golden = (ROOT / "tests" / "cases" / "contract-v1" / "batch.json").read_bytes()
    with pytest.raises(BatchError) as raised:
        decode(golden.replace(b"[1234.5,null]", b"[1234.5]"), JSON)
    assert f'"detail": "{raised.value}"' in ARCHITECTURE
    assert f'"where": "{raised.value.where}"' in ARCHITECTURE


def test_every_fault_is_proven_by_a_test_that_exists() -> None:
    defined = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
    }
    named = [re.fullmatch(r"`(test_\w+)`", row[2]) for row in _rows(ARCHITECTURE, "What happens when")[1:]]
    assert named
    assert all(named)
    assert {match[1] for match in named if match} <= defined


def test_every_import_direction_is_the_one_that_is_enforced() -> None:
    packages = {row[0].strip("`") for row in _rows(ARCHITECTURE, "Packages")[1:]}
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    assert packages == set(linter["root_packages"])


def test_the_number_of_quantities_is_right() -> None:
    assert f"with all {len(QUANTITIES)} quantities" in OPERATIONS


@pytest.mark.parametrize("database", ["domain", "telemetry"])
def test_the_numbers_of_tables_and_functions_are_right(database: str) -> None:
    reference = (ROOT / "docs" / "schema-reference.md").read_text("utf-8")
    section = reference.split(f"\n## {database.title()} database\n", 1)[1].split("\n## ", 1)[0]
    *objects, functions = section.split("\n### ")[1:]
    views = sum("\nView. " in part for part in objects)
    [shown] = re.findall(rf"^{database}: version .*?(\d+ tables.*?functions)", OPERATIONS, re.MULTILINE | re.DOTALL)
    counts = [len(objects) - views, views, functions.count("\n- `")]
    assert [int(number) for number in re.findall(r"(\d+) (?:tables|views|functions)", shown)] == counts


def test_the_proxy_lets_the_largest_batch_through_and_nothing_but_batches() -> None:
    proxy, _ = re.findall(r"^```nginx\n(.*?)^```$", INSTALL, re.MULTILINE | re.DOTALL)
    [size] = re.findall(r"client_max_body_size (\d+)m;", proxy)
    assert int(size) * 2**20 >= Limits().body_bytes
    assert re.findall(r"location (\S+) ", proxy) == ["/ingest/"]


def test_the_proxy_lets_nothing_through_to_the_api_but_its_own_and_names_who_asked() -> None:
    _, proxy = re.findall(r"^```nginx\n(.*?)^```$", INSTALL, re.MULTILINE | re.DOTALL)
    assert re.findall(r"location (\S+) ", proxy) == ["/api/"]
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in proxy


def test_every_folder_is_in_the_readme() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    table = " ".join(row[0] for row in _rows(README, "What is where"))
    folders = {name.partition("/")[0] for name in listed.stdout.splitlines() if "/" in name}
    assert set(re.findall(r"`(\w+)/`", table)) == {name for name in folders if not name.startswith(".")}


def test_the_demo_on_the_page_speaks_like_the_real_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The demo itself is run elsewhere; here its lines are held against those of the page."""
    [shown] = [block.text for block in blocks("README.md", README) if block.kind == "text demo"]
    display = Display()
    display.show(_progress())
    real = masked(capsys.readouterr().out)
    lines = [masked(line) for line in shown.splitlines() if " polled " in line]
    assert lines
    # Zero readings in the buffer is as good as some.
    assert {re.sub("buffered 0", "buffered N", line) for line in lines} == {real}
    named = ("gateway ", "the API is at ", "alerts: ")
    said = {line for line in shown.splitlines() if re.match("[a-z]", line) and not line.startswith(named)}
    source = (ROOT / "local" / "demo.py").read_text("utf-8")
    assert all(f'display.say("{line}")' in source for line in said)


def _progress() -> Progress:
    return Progress(
        elapsed_s=61.5,
        meters=24,
        power_w=31_400.0,
        polled=1424,
        left_out=0,
        buffered=26,
        synced=1404,
        stored=1404,
        quarantined=0,
        lag_s=1.5,
        aggregates_1m_rows=48,
        first_reading_s=5.9,
        lines=[],
    )
