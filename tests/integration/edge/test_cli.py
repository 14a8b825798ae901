"""The commands as an operator runs them."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from edge.profiles import catalog
from tests.integration.edge.peers import EdgeProcess, ModbusMeters, Receiver, free_port, modbus_table, wait_until

_CASES = Path(__file__).parents[2] / "cases" / "edge-config"


def _edge(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def edge(tmp_path: Path) -> EdgeProcess:
    table = modbus_table(free_port(), [1, 2], interval_s=0.25)
    return EdgeProcess(folder=tmp_path, receiver_url="http://127.0.0.1:9", meters=table)


def test_a_good_configuration_is_called_good(edge: EdgeProcess) -> None:
    done = _edge("check-config", str(edge.config))
    assert (done.returncode, done.stdout) == (0, f"{edge.config}: good, 2 meters\n")


@pytest.mark.parametrize("command", [["check-config"], ["run", "--config"]])
def test_a_certificate_that_is_not_there_is_named_with_its_table(edge: EdgeProcess, command: list[str]) -> None:
    edge.config.write_text(
        edge.config.read_text().replace("[[modbus]]\n", '[[modbus]]\ntls = { ca_file = "ca.pem" }\n')
    )
    done = _edge(*command, str(edge.config))
    assert done.returncode == 2
    assert f"modbus[0].tls.ca_file: {edge.config.parent}/ca.pem: No such file" in done.stderr


def test_the_meters_come_as_csv_for_registration(edge: EdgeProcess) -> None:
    done = _edge("check-config", str(edge.config), "--devices-csv")
    assert done.stdout == "device,model,interval_ms\nmeter-1,eastron-sdm630,250\nmeter-2,eastron-sdm630,250\n"


@pytest.mark.parametrize("command", [["check-config"], ["run", "--config"], ["status", "--config"]])
def test_a_bad_configuration_ends_every_command_with_the_same_words(command: list[str]) -> None:
    case = _CASES / "everything-at-once"
    done = _edge(*command, str(case / "gateway.toml"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (case / "error.txt").read_text()


def test_status_before_the_first_start_says_so(edge: EdgeProcess) -> None:
    done = _edge("status", "--config", str(edge.config))
    assert done.returncode == 0
    assert "site: stopped" in done.stdout
    assert "buffer: none yet" in done.stdout


def test_a_data_folder_that_is_none_ends_in_one_line(edge: EdgeProcess) -> None:
    """E11: whoever looks at the log, or at the status, reads what to mend."""
    edge.data_dir.touch()
    run = _edge("run", "--config", str(edge.config))
    status = _edge("status", "--config", str(edge.config))
    assert (run.returncode, status.returncode) == (1, 1)
    for said in (run.stderr, status.stderr):
        assert str(edge.data_dir) in said
        assert "gateway.data_dir must be a folder" in said
        assert "Traceback" not in said


def test_a_lock_file_that_cannot_be_opened_ends_in_one_line(edge: EdgeProcess) -> None:
    (edge.data_dir / "buffer.lock").mkdir(parents=True)
    run = _edge("run", "--config", str(edge.config))
    assert run.returncode == 1
    assert "buffer.lock: Is a directory" in run.stderr
    assert "Traceback" not in run.stderr


def _scraped(port: int) -> dict[str, Metric]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return {family.name: family for family in text_string_to_metric_families(answer.read().decode())}


def test_metrics_tell_what_was_polled_buffered_and_synced(tmp_path: Path) -> None:
    with Receiver() as receiver, ModbusMeters([1]) as meters:
        port = free_port()
        table = modbus_table(meters.port, [1])
        edge = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=table, metrics_port=port)
        edge.start()
        try:
            wait_until(lambda: len(receiver.rows()) > 5)
            # The gateway counts what it has the receipt for a moment later.
            wait_until(lambda: _scraped(port)["segs_edge_readings_synced"].samples[0].value >= 5)
            families = _scraped(port)
            human = _edge("status", "--config", str(edge.config)).stdout
        finally:
            assert edge.stop() == 0
    polled = families["segs_edge_readings_polled"].samples[0]
    assert polled.labels == {"device": "meter-1"}
    assert polled.value >= families["segs_edge_readings_buffered"].samples[0].value
    assert families["segs_edge_readings_buffered"].samples[0].value >= 5
    assert families["segs_edge_readings_synced"].samples[0].value >= 5
    assert families["segs_edge_lag_seconds"].samples[0].value < 5
    assert "site: running" in human
    assert "loss window: 0.5 s" in human


def test_a_metrics_port_that_is_taken_is_a_configuration_error(tmp_path: Path) -> None:
    with Receiver() as receiver, ModbusMeters([1]) as meters:
        table = modbus_table(meters.port, [1])
        edge = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=table, metrics_port=receiver.port)
        assert edge.start().wait(10) == 2
        assert f"metrics.port: {receiver.port}: Address already in use" in edge.log


_TOOLS = ("scan", "read", "decode", "record", "write", "rejected", "explain", "profiles")


def test_the_help_names_every_command() -> None:
    done = _edge("--help")
    assert done.returncode == 0
    listed = re.findall(r"^  ([a-z][a-z-]+) {2,}\S", done.stdout, re.MULTILINE)
    assert listed == ["run", "check-config", "status", *_TOOLS]


@pytest.mark.parametrize("tool", _TOOLS)
def test_every_example_of_a_tool_uses_options_that_it_has(tool: str) -> None:
    said = _edge(tool, "--help").stdout
    prose, _, options = said.partition("\nOptions:\n")
    known = set(re.findall(r"^  (--[a-z-]+)", options, re.MULTILINE))
    examples = [line for line in prose.replace("\\\n", " ").splitlines() if f"segs-edge {tool}" in line]
    assert examples
    for example in examples:
        used = re.findall(r" (--[a-z-]+)", example.partition(f"segs-edge {tool}")[2])
        assert set(used) <= known, example


def test_profiles_lists_every_model_and_shows_one() -> None:
    listed = json.loads(_edge("profiles", "--json").stdout)
    assert {item["name"] for item in listed} == {*catalog.names("modbus"), *catalog.names("mqtt"), "sunspec"}
    shown = _edge("profiles", "eastron-sdm630").stdout
    assert re.search(r"^voltage_l1_v +4:0x0000 +float32", shown, re.MULTILINE)
    wrong = _edge("profiles", "eastron-sdm")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "unknown, did you mean" in wrong.stderr
