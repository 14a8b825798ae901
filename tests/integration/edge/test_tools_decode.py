"""`segs-edge decode`: bytes on standard input or in a file to readings, without a meter."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.edge.tools import SDM630, edge, float_words, inside, said

_SHARED = Path(__file__).parents[4] / "shared" / "data" / "mqtt" / "payloads.jsonl"
_NOW = ("--received", "2026-03-29T12:00:00Z")


def _decode(profile: str, topic: str, payload: Any, *more: str) -> Any:
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return inside("decode", "--profile", profile, "--topic", topic, "--json", *_NOW, *more, stdin=text)


def test_a_payload_becomes_a_reading_with_the_devices_clock() -> None:
    energy = {"Total": 12.345, "Power": 47.11, "Voltage": 231, "Current": 0.204}
    done = _decode(
        "tasmota",
        "tele/plug/SENSOR",
        {"Time": "2026-03-29T13:59:30", "ENERGY": energy},
        *("--timezone", "Europe/Berlin"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert said(done) == [
        {
            "device": "plug",
            "time": "2026-03-29T11:59:30Z",
            "time_source": "device",
            "values": {"power_w": 47.1, "voltage_l1_v": 231, "current_l1_a": 0.204, "energy_import_wh": 12345},
            "quality": 14,
        }
    ]


def test_a_clock_of_1970_is_not_believed() -> None:
    """E15"""
    [reading] = said(
        _decode("tasmota", "tele/plug/SENSOR", {"Time": "1970-01-01T00:33:28", "ENERGY": {"Total": 0.003}})
    )
    assert (reading["time"], reading["time_source"]) == ("2026-03-29T12:00:00Z", "gateway")


def _archived(*more: str, clock: object = "2022-07-07T13:01:11") -> dict[str, Any]:
    text = json.dumps({"Time": clock, "ENERGY": {"Total": 1.5}}).encode()
    [reading] = said(
        inside("decode", "--profile", "tasmota", "--topic", "tele/plug/SENSOR", "--json", *more, stdin=text)
    )
    return reading


def test_the_clock_of_an_archived_payload_is_the_devices() -> None:
    """However old it is: only what says when it came is held to the gateway's seven days."""
    reading = _archived()
    assert (reading["time"], reading["time_source"]) == ("2022-07-07T13:01:11Z", "device")
    assert _archived("--timezone", "Europe/Berlin")["time"] == "2022-07-07T11:01:11Z"
    assert _archived("--received", "2022-07-07T13:01:20Z")["time_source"] == "device"
    late = _archived("--received", "2022-07-15T13:01:20Z")
    assert (late["time"], late["time_source"]) == ("2022-07-15T13:01:20Z", "gateway")


@pytest.mark.parametrize("clock", ["1970-01-01T00:33:28", "2000-01-01T00:00:07", "2099-01-01T00:00:00", "soon"])
def test_a_clock_that_was_never_set_or_runs_ahead_is_not_the_time(clock: str) -> None:
    """E15"""
    assert _archived(clock=clock)["time_source"] == "gateway"


def test_archived_messages_of_every_kind_keep_their_clock() -> None:
    """A number of seconds, and a telegram, whose summer time is told by a letter."""
    rpc = {"src": "shelly", "method": "NotifyStatus", "params": {"ts": 1675718520.5, "em:0": {"total_act_power": 5.0}}}
    [em] = said(
        inside(
            *("decode", "--profile", "shelly-gen2", "--topic", "shelly/events/rpc", "--json"),
            stdin=json.dumps(rpc).encode(),
        )
    )
    assert (em["time"], em["time_source"]) == ("2023-02-06T21:22:00.500Z", "device")
    telegram = (
        b"/KFM5\r\n\r\n0-0:1.0.0(220707130111S)\r\n1-0:1.8.1(000671.578*kWh)\r\n1-0:1.8.2(000842.472*kWh)\r\n!\r\n"
    )
    [p1] = said(
        inside(
            *("decode", "--profile", "dsmr", "--topic", "dsmr/raw", "--timezone", "Europe/Amsterdam", "--json"),
            stdin=telegram,
        )
    )
    assert (p1["time"], p1["time_source"]) == ("2022-07-07T11:01:11Z", "device")


def test_a_device_with_several_meters_gives_a_reading_for_each() -> None:
    """E15: `Total` as an array."""
    payload = {"Time": "2026-03-29T11:00:00", "ENERGY": {"Total": [2.813, 0.254], "Power": [52, 5]}}
    readings = said(_decode("tasmota", "tele/dual/SENSOR", payload))
    assert [(reading["channel"], reading["values"]) for reading in readings] == [
        (1, {"power_w": 52, "energy_import_wh": 2813}),
        (2, {"power_w": 5, "energy_import_wh": 254}),
    ]


def test_a_field_that_cannot_be_used_costs_the_reading_its_quality_alone() -> None:
    payload = {"Time": "2026-03-29T11:00:00", "ENERGY": {"Total": 1.5, "Power": "plenty"}}
    done = _decode("tasmota", "tele/plug/SENSOR", payload)
    [reading] = said(done)
    assert (reading["values"], reading["quality"]) == ({"energy_import_wh": 1500}, 10)
    assert "standard input: " in done.stderr
    assert "Power" in done.stderr


def test_a_value_that_no_meter_measures_fails_the_checks() -> None:
    payload = {"Time": "2026-03-29T11:00:00", "ENERGY": {"Total": 1.5, "Power": 3e9}}
    [reading] = said(_decode("tasmota", "tele/plug/SENSOR", payload))
    assert reading["quality"] == 10


@pytest.mark.parametrize("payload", [b"", b"\xff\xfe", b"[1, 2]", b'{"Time": "2026"}', b'{"ENERGY": {"Tot'])
def test_what_cannot_be_decoded_is_named_and_gives_nothing(payload: bytes) -> None:
    """E13"""
    done = _decode("tasmota", "tele/plug/SENSOR", payload)
    assert (done.returncode, said(done)) == (1, [])
    assert done.stderr.startswith("standard input, topic tele/plug/SENSOR: ")
    assert "is tasmota its profile?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_message_that_is_none_of_a_meters_is_no_mistake() -> None:
    done = _decode("tasmota", "tele/plug/LWT", b"Offline")
    assert (done.returncode, said(done)) == (0, [])
    assert "the device says that it is gone" in done.stderr


def test_lines_of_a_subscriber_are_decoded_one_by_one_and_values_that_come_alone_are_put_together() -> None:
    lines = b"""\
shellies/attic/emeter/0/power 230.5
shellies/attic/emeter/0/total 1234.5
shellies/attic/emeter/1/power 17
shellies/cellar/emeter/0/power nonsense
shellies/attic/emeter/0/power 231.5
"""
    done = inside("decode", "--profile", "shelly-gen1", "--lines", "--json", *_NOW, stdin=lines)
    assert done.returncode == 1
    assert "standard input:4, topic shellies/cellar/emeter/0/power" in done.stderr
    assert [(item["device"], item.get("channel"), item["values"].get("power_w")) for item in said(done)] == [
        ("attic", 1, 230.5),
        ("attic", 2, 17.0),
        ("attic", 1, 231.5),
    ]


def test_a_devices_own_fields_are_used(tmp_path: Path) -> None:
    fields = tmp_path / "fields.toml"
    fields.write_text('fields = [{ quantity = "power_w", path = "grid.kw", scale = 1000.0 }]\n')
    payload = {"grid": {"kw": 1.25}}
    bare = _decode("json", "house/meter", payload)
    done = _decode("json", "house/meter", payload, "--fields", str(fields))
    assert (bare.returncode, said(bare)) == (1, [])
    assert "give --fields a TOML file" in bare.stderr
    assert [(item["device"], item["values"]) for item in said(done)] == [("house/meter", {"power_w": 1250.0})]


def test_real_payloads_decode_to_what_they_must() -> None:
    if not _SHARED.exists():
        pytest.skip(f"{_SHARED} is absent")
    lines = [json.loads(line) for line in _SHARED.read_text().splitlines()]
    plug = next(line for line in lines if line["topic"] == "zigbee2mqtt/plug")
    dual = next(line for line in lines if line["topic"] == "tele/tasmota/SENSOR")
    [reading] = said(_decode("zigbee2mqtt", plug["topic"], plug["payload"].encode()))
    assert reading["values"]["energy_import_wh"] == round(plug["expected"]["import_register_kwh"] * 1000)
    readings = said(_decode("tasmota", dual["topic"], dual["payload"].encode()))
    expected = [channel["power_w"] for channel in dual["expected"]["channels"]]
    assert [item["values"]["power_w"] for item in readings] == expected


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    file = tmp_path / "attic.txt"
    words = float_words(SDM630)
    file.write_text("\n".join(f"{address:#06x} {word}" for address, word in words.items() if address < 0x48))
    return file


def test_registers_of_a_file_become_a_reading(dump: Path) -> None:
    done = edge("decode", "--profile", "eastron-sdm630", "--registers", str(dump), "--json", *_NOW)
    [reading] = said(done)
    assert (done.returncode, reading["device"], reading["time_source"]) == (0, "attic", "gateway")
    assert reading["values"]["voltage_l1_v"] == 230.1
    assert not [name for name in reading["values"] if name.startswith("energy")]


def test_explain_shows_where_each_value_of_a_file_comes_from(dump: Path) -> None:
    done = inside("decode", "--profile", "eastron-sdm630", "--registers", str(dump), "--explain")
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}
    assert rows["power_w"] == ["power_w", "4:0x0034", "44c5", "a000", "float32", "big", "1581", "1581.0", "W"]
    assert rows["energy_import_wh"][-6:] == ["1000", "absent:", "not", "in", "the", "file"]


def test_registers_of_another_model_tell_themselves(dump: Path) -> None:
    """E8"""
    none = inside("decode", "--profile", "abb-b23", "--registers", str(dump), "--json")
    assert (none.returncode, said(none)) == (1, [])
    assert "no value for any row of abb-b23" in none.stderr


def test_a_mistake_in_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    file.write_text("0 1\n1 x\n")
    done = inside("decode", "--profile", "abb-b23", "--registers", str(file), "--json")
    assert (done.returncode, said(done)) == (1, [])
    assert done.stderr.startswith("bad.txt:2: '1 x'")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--profile", "tasmota"], "name the topic"),
        (["--profile", "tasmota", "--topic", "t", "--lines"], "name the topic"),
        (["--profile", "abb-b23", "--topic", "t"], "is read over Modbus"),
        (["--profile", "abb-b23", "--registers", "f", "--topic", "t"], "goes without"),
        (["--profile", "tasmota", "--topic", "t", "--timezone", "Mars"], "no time zone of that name"),
        (["--profile", "tasmota", "--topic", "t", "--received", "yesterday"], "no ISO 8601 time"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str], words: str) -> None:
    done = inside("decode", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_nothing_that_a_message_says_moves_the_cursor() -> None:
    lines = b'tele/\x1b[2Jplug/SENSOR {"ENERGY": {"Power": 5}}\ntele/\x1b]0;x\x07/SENSOR no JSON\n'
    done = inside("decode", "--profile", "tasmota", "--lines", *_NOW, stdin=lines)
    assert done.returncode == 1
    assert done.stdout.startswith("\\x1b[2Jplug: 2026-03-29T12:00:00Z")
    assert "topic tele/\\x1b]0;x\\x07/SENSOR" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
