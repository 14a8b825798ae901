"""Payloads of real devices, where they are at hand, decode to the values that their finders state."""

import json
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from edge.profiles import catalog
from edge.profiles.payload.decode import PayloadDecoder
from edge.profiles.payload.said import Said

_DATA = Path(__file__).parents[4] / "shared" / "data" / "mqtt"
_PAYLOADS = _DATA / "payloads.jsonl"
_NOW_US = 1_757_060_300_000_000
_PROFILES = {"Tasmota": "tasmota", "Shelly": "shelly-gen2", "Zigbee2MQTT": "zigbee2mqtt"}
_QUANTITIES = {
    "import_register_kwh": ("energy_import_wh", 1000),
    "export_register_kwh": ("energy_export_wh", 1000),
    "import_register_wh": ("energy_import_wh", 1),
    "export_register_wh": ("energy_export_wh", 1),
    "power_w": ("power_w", 1),
    "voltage_v": ("voltage_l1_v", 1),
    "voltage_c": ("voltage_l3_v", 1),
}

pytestmark = pytest.mark.skipif(not _PAYLOADS.exists(), reason="../shared/data/mqtt/payloads.jsonl is not here")


def _lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in _PAYLOADS.read_text().splitlines()] if _PAYLOADS.exists() else []


def _said(line: dict[str, Any], now_us: int = _NOW_US) -> Said:
    profile = catalog.mqtt(_PROFILES[line["device"].split()[0].rstrip(",")])
    return PayloadDecoder(profile, UTC).decode(line["topic"], line["payload"].encode(), now_us)


def _device(name: str) -> dict[str, Any]:
    return next(line for line in _lines() if line["device"].startswith(name))


def _status(file: str) -> dict[str, Any]:
    return json.loads((_DATA / file).read_text())


@pytest.mark.parametrize("line", _lines(), ids=lambda line: line["device"])
def test_every_payload_says_what_its_finder_expects(line: dict[str, Any]) -> None:
    """E15"""
    said = _said(line)
    assert not said.skipped
    wanted = line["expected"].get("channels", [line["expected"]])
    assert len(said.channels) == len(wanted)
    for values, expected in zip(said.channels.values(), wanted, strict=True):
        for name, value in expected.items():
            quantity, factor = _QUANTITIES[name]
            assert values[quantity] == pytest.approx(value * factor), name


def test_a_tasmota_plug_without_voltage_measures_power_and_energy_only() -> None:
    """E15"""
    assert _said(_device("Tasmota smart plug")).channels[None].keys() == {"energy_import_wh", "power_w"}


def test_a_tasmota_with_two_registers_is_two_meters_under_one_voltage() -> None:
    """E15"""
    said = _said(_device("Tasmota Sonoff Dual"))
    assert {channel: values["voltage_l1_v"] for channel, values in said.channels.items()} == {1: 235, 2: 235}


def test_a_clock_of_1970_is_not_believed() -> None:
    """E15, E27"""
    assert _said(_device("Tasmota, clock not set")).time_us is None


def test_unconnected_phases_of_a_shelly_give_nothing() -> None:
    """E15"""
    said = _said(_device("Shelly Pro 3EM"))
    values = said.channels[None]
    assert values["frequency_hz"] == 50
    assert not [name for name in values if "_l1_" in name or "_l2_" in name]
    assert said.time_us == 1757059829080000


def test_a_whole_status_of_a_shelly_pro_3em_decodes() -> None:
    dump = _status("aioshelly_gen2_Shelly-Pro-3EM.json")
    status, decoder = dump["status"], PayloadDecoder(catalog.mqtt("shelly-gen2"), UTC)
    for document in (dump, {"params": status}, {"id": 1, "src": "shellypro3em-1", "result": status}):
        said = decoder.decode("pro/events/rpc", json.dumps(document).encode(), 1707326930000000)
        assert said.channels[None]["power_w"] == status["em:0"]["total_act_power"]
        assert said.channels[None]["energy_import_wh"] == status["emdata:0"]["total_act"]
        assert said.time_us == status["sys"]["unixtime"] * 1_000_000


def test_a_whole_status_of_a_shelly_plug_s_decodes() -> None:
    """E15: a plug of the first generation counts watt-minutes."""
    dump = _status("aioshelly_gen1_Shelly-Plug-S.json")
    for document in (dump, dump["status"]):
        decoder = PayloadDecoder(catalog.mqtt("shelly-gen1"), UTC)
        said = decoder.decode("shellies/plug/info", json.dumps(document).encode(), 1707332250000000)
        assert said.channels == {None: {"power_w": 0.0, "energy_import_wh": pytest.approx(2632 / 60)}}
        assert said.time_us == 1707332241000000
