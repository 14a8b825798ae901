"""`segs-edge record` and `segs-edge rejected`: what was on the line, and what nobody could read."""

import json
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.servers import MosquittoBroker
from tests.integration.edge.brokers import publish
from tests.integration.edge.peers import EdgeProcess, ModbusMeters, Receiver, modbus_table, mqtt_table, wait_until
from tests.integration.edge.tools import SDM630, Server, edge, float_words, inside, said
from tests.integration.simulator.conftest import Simulator, start_simulator

__all__ = ["start_simulator"]


def _entries(file: Path) -> tuple[Any, list[Any]]:
    head, *entries = [json.loads(line) for line in file.read_text().splitlines()]
    return head, entries


def test_every_exchange_of_a_line_is_written_down(tmp_path: Path) -> None:
    file = tmp_path / "attic.jsonl"
    with Server({1: float_words(SDM630)}) as server:
        before_us = time.time_ns() // 1000
        done = edge(
            *("record", "--host", "127.0.0.1", "--port", str(server.port), "--units", "1-2", "--timeout", "0.3"),
            *("--profile", "eastron-sdm630", "--every", "0.3", "--for", "1.2", "--out", str(file)),
        )
    assert done.returncode == 0, done.stderr
    head, entries = _entries(file)
    assert head == {
        "segs_recording": 1,
        "endpoint": f"127.0.0.1:{server.port}",
        "framing": "tcp",
        "started_us": head["started_us"],
    }
    assert before_us <= head["started_us"] <= entries[0]["t_us"]
    first = next(entry for entry in entries if entry["unit"] == 1)
    assert first["request"] == "0400000012"
    assert first["reply"].startswith("04244366199a")
    assert 0 < first["took_us"] < 300_000
    assert next(entry for entry in entries if entry["unit"] == 2)["reply"] == "8404"
    assert f"{len(entries)} exchanges" in done.stderr
    decoded = said(inside("decode", "--profile", "eastron-sdm630", "--registers", str(file), "--json"))
    assert [(item["device"], item["values"]["voltage_l1_v"]) for item in decoded] == [("unit-1", 230.1)]


def test_a_line_on_which_nobody_answers_is_recorded_as_that(tmp_path: Path) -> None:
    file = tmp_path / "mute.jsonl"
    with ModbusMeters([1]) as meters:
        meters.delay_s[1] = 5.0
        done = edge(
            *("record", "--host", "127.0.0.1", "--port", str(meters.port), "--units", "1", "--timeout", "0.1"),
            *("--profile", "eastron-sdm630", "--every", "0.2", "--for", "0.8", "--out", str(file)),
        )
    assert done.returncode == 1
    assert "nothing answered: check the line and the units with segs-edge scan" in done.stderr
    _, entries = _entries(file)
    assert entries
    assert {entry["reply"] for entry in entries} == {None}


def test_a_recording_is_never_written_over_and_ends_whole_when_it_is_stopped(tmp_path: Path) -> None:
    file = tmp_path / "attic.jsonl"
    with Server({1: float_words(SDM630)}) as server:
        command = [
            *("record", "--host", "127.0.0.1", "--port", str(server.port), "--units", "1"),
            *("--profile", "eastron-sdm630", "--every", "0.1", "--for", "60", "--out", str(file)),
        ]
        with subprocess.Popen([sys.executable, "-m", "edge", *command], stderr=subprocess.DEVNULL) as process:
            try:
                wait_until(lambda: file.exists() and file.read_text().count("\n") > 3, timeout_s=30.0)
                process.send_signal(signal.SIGINT)
                assert process.wait(30) == 0
            finally:
                process.kill()
        assert len(_entries(file)[1]) >= 3
        before = file.read_bytes()
        again = edge(*command)
    assert again.returncode == 1
    assert again.stderr == f"{file}: is there already; name another --out\n"
    assert file.read_bytes() == before


def test_a_recording_on_a_full_disk_ends_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "attic.jsonl"
    with Server({1: float_words(SDM630)}) as server:
        command = [
            *(sys.executable, "-B", "-m", "edge", "record", "--host", "127.0.0.1", "--port", str(server.port)),
            *("--units", "1", "--profile", "eastron-sdm630", "--every", "0.1", "--for", "60", "--out", str(file)),
        ]
        text = f"ulimit -f 2; exec {shlex.join(command)}"
        done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert f"{file}: File too large; the recording ends with what was written before" in done.stderr
    assert "Traceback" not in done.stderr
    decoded = said(inside("decode", "--profile", "eastron-sdm630", "--registers", str(file), "--json"))
    assert [item["values"]["voltage_l1_v"] for item in decoded] == [230.1]


def test_the_lines_of_a_configuration_are_recorded_while_its_daemon_is_stopped(tmp_path: Path) -> None:
    with Receiver() as receiver, ModbusMeters([1, 2]) as meters:
        table = modbus_table(meters.port, [1, 2])
        gateway = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=table)
        command = ["record", "--config", str(gateway.config), "--for", "0.8", "--out", str(tmp_path / "recordings")]
        gateway.start()
        try:
            wait_until(lambda: bool(meters.reads))
            running = edge(*command)
        finally:
            assert gateway.stop() == 0
        assert running.returncode == 1
        assert "its daemon is running and holds the lines" in running.stderr
        done = edge(*command)
    assert done.returncode == 0, done.stderr
    [file] = (tmp_path / "recordings").iterdir()
    assert {entry["unit"] for entry in _entries(file)[1]} == {1, 2}


def _kept(gateway: EdgeProcess, rows: list[tuple[str, bytes, str, int]]) -> None:
    """A buffer as the gateway leaves it, with `rows` among what it could not decode."""
    gateway.start()
    wait_until(lambda: gateway.status()["stored"] is not None)
    assert gateway.stop() == 0
    with sqlite3.connect(gateway.data_dir / "buffer.sqlite") as db:
        db.executemany("INSERT INTO rejected (topic, payload, reason, received_us) VALUES (?, ?, ?, ?)", rows)


def test_messages_that_nobody_could_read_are_shown_as_they_came(tmp_path: Path) -> None:
    """E13: unparseable messages are not gone."""
    with ModbusMeters([1]) as meters:
        table = modbus_table(meters.port, [1])
        gateway = EdgeProcess(folder=tmp_path, receiver_url="http://127.0.0.1:9", meters=table)
        none = inside("rejected", "--config", str(gateway.config))
        assert none.returncode == 1
        assert "no buffer yet" in none.stderr
        _kept(
            gateway,
            [
                ("tele/a/SENSOR", b'{"ENERGY"', "not JSON", 1_700_000_000_000_000),
                ("tele/b/SENSOR", b"\x1b[2J\x07evil", "no ENERGY object", 1_700_000_001_000_000),
                ("spBv1.0/g/DDATA/n", b"\xff\x00", "no name", 1_700_000_002_500_000),
            ],
        )
    shown = inside("rejected", "--config", str(gateway.config))
    assert shown.returncode == 0
    assert shown.stdout.splitlines() == [
        "2023-11-14T22:13:20.000Z  tele/a/SENSOR",
        "  not JSON",
        '  {"ENERGY"',
        "2023-11-14T22:13:21.000Z  tele/b/SENSOR",
        "  no ENERGY object",
        "  \\x1b[2J\\x07evil",
        "2023-11-14T22:13:22.500Z  spBv1.0/g/DDATA/n",
        "  no name",
        "  hex ff00",
    ]
    newest = said(inside("rejected", "--config", str(gateway.config), "--json", "--limit", "2"))
    assert [(item["topic"], item["encoding"]) for item in newest] == [
        ("tele/b/SENSOR", "utf-8"),
        ("spBv1.0/g/DDATA/n", "hex"),
    ]
    one = said(inside("rejected", "--config", str(gateway.config), "--json", "--topic", "tele/a/SENSOR"))
    assert [item["payload"] for item in one] == ['{"ENERGY"']


def test_rejected_messages_can_be_looked_at_while_the_gateway_runs(tmp_path: Path, broker: MosquittoBroker) -> None:
    gateway = EdgeProcess(
        folder=tmp_path, receiver_url="http://127.0.0.1:9", meters=mqtt_table(broker.port), commit_interval_s=0.1
    )
    gateway.start()
    try:
        wait_until(lambda: bool((gateway.status()["daemon"] or {}).get("brokers", [{}])[0].get("connected")))
        publish(broker.port, "tele/plug/SENSOR", b"no JSON at all")
        wait_until(
            lambda: inside("rejected", "--config", str(gateway.config), "--json").stdout.strip() not in ("", "[]")
        )
        [message] = said(inside("rejected", "--config", str(gateway.config), "--json"))
    finally:
        assert gateway.stop() == 0
    assert (message["topic"], message["payload"]) == ("tele/plug/SENSOR", "no JSON at all")


def test_what_was_recorded_can_be_played_back_and_reads_the_same(tmp_path: Path) -> None:
    file = tmp_path / "attic.jsonl"
    with Server({1: float_words(SDM630)}) as server:
        edge(
            *("record", "--host", "127.0.0.1", "--port", str(server.port), "--units", "1"),
            *("--profile", "eastron-sdm630", "--every", "0.3", "--for", "0.8", "--out", str(file)),
        )
        live = _read(server.port)
    command = [sys.executable, "-m", "firmware_sim", "replay", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as played:
        try:
            assert played.stdout is not None
            told = json.loads(played.stdout.readline())
            replayed = _read(int(re.findall(r"\d{4,5}", json.dumps(told))[-1]))
        finally:
            played.kill()
    assert live["voltage_l1_v"] == 230.1
    assert replayed == live


def _read(port: int) -> Any:
    where = ["--host", "127.0.0.1", "--port", str(port), "--unit", "1", "--profile", "eastron-sdm630"]
    return said(inside("read", *where, "--json"))


def test_a_meter_that_says_itself_what_its_map_is_is_recorded_with_that(
    tmp_path: Path, start_simulator: Callable[[str], Simulator]
) -> None:
    file = tmp_path / "sunspec.jsonl"
    fleet = '[[modbus]]\ntransport = "tcp"\nport = 0\n[[modbus.meter]]\nname = "m"\nmodel = "sunspec-203"\nunit = 5\n'
    [port] = start_simulator(fleet).ready()["modbus_ports"]  # type: ignore[misc]
    done = edge(
        *("record", "--host", "127.0.0.1", "--port", str(port), "--units", "5", "--profile", "sunspec"),
        *("--every", "0.3", "--for", "1.0", "--out", str(file)),
    )
    assert done.returncode == 0, done.stderr
    [reading] = said(inside("decode", "--profile", "sunspec", "--registers", str(file), "--json"))
    assert reading["device"] == "unit-5"
    assert 215 < reading["values"]["voltage_l1_v"] < 245
    assert "energy_import_wh" in reading["values"]
