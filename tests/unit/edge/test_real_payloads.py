"""Payloads of real devices, where they are at hand, decode to the values that their finders state."""

import json
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from edge.profiles import catalog
from edge.profiles.payload.schema import Decoded, decode, device_time_us, plausible_time

_DATA = Path(__file__).parents[4] / "shared" / "data" / "mqtt"
_PAYLOADS = _DATA / "payloads.jsonl"
_NOW_US = 1_795_000_000_000_000

pytestmark = pytest.mark.skipif(not _PAYLOADS.exists(), reason="../shared/data/mqtt/payloads.jsonl is not here")


def _line(device: str) -> dict[str, Any]:
    lines = (json.loads(line) for line in _PAYLOADS.read_text().splitlines())
    return next(line for line in lines if line["device"].startswith(device))


def _decoded(device: str) -> tuple[Decoded, dict[str, Any]]:
    line = _line(device)
    profile = "shelly-gen2" if "Shelly" in device else "tasmota"
    return decode(catalog.mqtt(profile), line["topic"], line["payload"].encode()), line["expected"]


def test_a_tasmota_plug_without_voltage_measures_power_and_energy_only() -> None:
    """E15"""
    decoded, expected = _decoded("Tasmota smart plug")
    assert decoded.channels == {
        None: {
            "energy_import_wh": pytest.approx(expected["import_register_kwh"] * 1000),
            "power_w": expected["power_w"],
        }
    }


def test_a_tasmota_optical_head_exports() -> None:
    decoded, expected = _decoded("Tasmota SML")
    values = decoded.channels[None]
    assert values["energy_import_wh"] == pytest.approx(expected["import_register_kwh"] * 1000)
    assert values["energy_export_wh"] == pytest.approx(expected["export_register_kwh"] * 1000)
    assert values["power_w"] == expected["power_w"]


def test_a_tasmota_with_two_registers_is_two_meters() -> None:
    """E15"""
    decoded, expected = _decoded("Tasmota Sonoff Dual")
    for channel, wanted in enumerate(expected["channels"], start=1):
        assert decoded.channels[channel]["energy_import_wh"] == pytest.approx(wanted["import_register_kwh"] * 1000)
        assert decoded.channels[channel]["power_w"] == wanted["power_w"]
        assert decoded.channels[channel]["voltage_l1_v"] == 235


def test_a_clock_of_1970_is_not_believed() -> None:
    """E15, E27"""
    decoded, expected = _decoded("Tasmota, clock not set")
    clock_us = device_time_us(catalog.mqtt("tasmota"), decoded.clock, UTC, _NOW_US)
    assert clock_us is not None
    assert not plausible_time(clock_us, _NOW_US)
    assert decoded.channels[None]["energy_import_wh"] == pytest.approx(expected["import_register_kwh"] * 1000)


def test_unconnected_phases_of_a_shelly_give_no_current_and_no_frequency() -> None:
    """E15"""
    decoded, expected = _decoded("Shelly Pro 3EM")
    values = decoded.channels[None]
    assert values["power_w"] == expected["power_w"]
    assert values["voltage_l3_v"] == expected["voltage_c"]
    assert values["frequency_hz"] == 50
    assert not {"current_l1_a", "current_l2_a"} & values.keys()
    assert device_time_us(catalog.mqtt("shelly-gen2"), decoded.clock, UTC, _NOW_US) == 1757059829080000


def test_a_shelly_counts_watt_hours() -> None:
    """E15"""
    decoded, expected = _decoded("Shelly Pro 3EM energy")
    assert decoded.channels == {
        None: {
            "energy_import_wh": expected["import_register_wh"],
            "energy_export_wh": expected["export_register_wh"],
        }
    }


def test_a_shelly_switch_reports_on_its_status_topic() -> None:
    decoded, expected = _decoded("Shelly Plus switch")
    assert decoded.channels[None]["energy_import_wh"] == expected["import_register_wh"]
    assert decoded.channels[None]["power_w"] == expected["power_w"]


def test_a_whole_status_of_a_shelly_pro_3em_decodes() -> None:
    status = json.loads((_DATA / "aioshelly_gen2_Shelly-Pro-3EM.json").read_text())["status"]
    decoded = decode(catalog.mqtt("shelly-gen2"), "x/events/rpc", json.dumps({"params": status}).encode())
    assert decoded.channels[None]["power_w"] == status["em:0"]["total_act_power"]
    assert decoded.channels[None]["energy_import_wh"] == status["emdata:0"]["total_act"]
