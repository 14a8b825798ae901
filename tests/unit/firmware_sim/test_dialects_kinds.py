"""Each kind of MQTT meter says what its project's documentation shows: topics, keys, units, types."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.dialects import MQTT_DIALECTS
from firmware_sim.dialects.dialect import Message
from firmware_sim.dialects.sparkplug_b import SparkplugB
from firmware_sim.meter import Meter

# 2026-03-01T12:00:07Z: the sun shines.
AT_US = 1_772_366_407 * 10**6
NJ_PER_WH = 3_600 * 10**9
REAL = Path(__file__).parents[4] / "shared/data/mqtt/payloads.jsonl"


def _meter(kind: str) -> Meter:
    dialect = MQTT_DIALECTS[kind]
    return Meter(seed=7, name="m", peak_w=2000, pv_peak_w=3000 if dialect.exports else 0, phases=dialect.phases)


def _said(kind: str) -> list[Message]:
    return list(MQTT_DIALECTS[kind]().messages(_meter(kind), AT_US))


def _topics(kind: str) -> dict[str, str]:
    return {message.topic: message.payload.decode() for message in _said(kind)}


def _body(kind: str) -> dict[str, Any]:
    (message,) = _said(kind)
    body = json.loads(message.payload)
    assert isinstance(body, dict)
    return body


def _register(kind: str, name: str = "energy_import_wh", *, per_wh: int = 1) -> int:
    return _meter(kind).at(AT_US).registers_nj[name] * per_wh // NJ_PER_WH


def test_a_tasmota_with_two_channels_has_two_registers_and_one_voltage() -> None:
    """E15."""
    energy = _body("tasmota-dual")["ENERGY"]
    assert round(1000 * sum(energy["Total"])) == _register("tasmota-dual")
    assert [len(energy[key]) for key in ("Total", "Yesterday", "Today", "Power", "Current")] == [2] * 5
    assert isinstance(energy["Voltage"], int)


def test_what_a_device_of_two_channels_tells_is_told_of_each() -> None:
    """E15: the registers of the two add up to the meter's, and the voltage is that of both."""
    meter = _meter("tasmota-dual")
    (message,) = _said("tasmota-dual")
    (answer,) = MQTT_DIALECTS["tasmota-dual"]().on_message(meter, "cmnd/m/STATUS", b"8", AT_US)
    assert (message.values, list(message.channels)) == ({}, [1, 2])
    assert answer.channels == message.channels
    one, two = message.channels.values()
    assert one["energy_import_wh"] + two["energy_import_wh"] == _register("tasmota-dual")
    assert one["power_w"] + two["power_w"] == round(meter.at(AT_US).values["power_w"])
    assert one["voltage_l1_v"] == two["voltage_l1_v"] == round(meter.at(AT_US).values["voltage_l1_v"])


def test_a_tasmota_with_three_phases_has_lists_and_one_total() -> None:
    """E15."""
    (message,) = _said("tasmota-three-phase")
    energy = json.loads(message.payload)["ENERGY"]
    assert energy["Total"] == _register("tasmota-three-phase") / 1000
    assert (len(energy["Power"]), sum(energy["Power"])) == (3, message.values["power_w"])
    assert isinstance(energy["Frequency"], int)


@pytest.mark.parametrize(("asked", "topic"), [(b"8", "stat/m/STATUS8"), (b" 10 ", "stat/m/STATUS10")])
def test_a_tasmota_answers_a_status_command_with_its_sensors_in_a_wrapper(asked: bytes, topic: str) -> None:
    (answer,) = MQTT_DIALECTS["tasmota"]().on_message(_meter("tasmota"), "cmnd/m/STATUS", asked, AT_US + 250_000)
    assert (answer.topic, json.loads(answer.payload)) == (topic, {"StatusSNS": _body("tasmota")})
    assert not MQTT_DIALECTS["tasmota"]().on_message(_meter("tasmota"), "cmnd/m/STATUS", b"2", AT_US)


def test_an_optical_head_names_its_values_as_its_owner_does_and_exports_below_zero() -> None:
    """E15."""
    sml = _body("tasmota-sml")["SML"]
    assert set(sml) == {"Total_in", "Total_out", "Power_curr", "Meter_number"}
    assert sml["Total_out"] == _register("tasmota-sml", "energy_export_wh", per_wh=10) / 10_000
    assert sml["Power_curr"] < 0


def test_a_french_meter_has_its_labels_beside_what_tasmota_makes_of_them() -> None:
    body = _body("tasmota-teleinfo")
    assert body["TIC"]["EAST"] == round(1000 * body["ENERGY"]["Total"]) == _register("tasmota-teleinfo")
    assert body["TIC"]["SINSTS"] == body["ENERGY"]["ApparentPower"]
    assert {type(body["TIC"][label]) for label in ("EAST", "IRMS1", "URMS1", "SINSTS")} == {int}


def test_a_first_shelly_tells_plain_numbers_and_its_totals_in_watt_hours() -> None:
    """E15."""
    topics = _topics("shelly-gen1")
    assert float(topics["shellies/m/emeter/0/total"]) == _register("shelly-gen1", per_wh=10) / 10
    assert float(topics["shellies/m/emeter/0/power"]) < 0
    assert int(topics["shellies/m/emeter/0/energy"]) == 0
    assert int(topics["shellies/m/emeter/0/returned_energy"]) > 0


def test_a_first_shelly_plug_counts_watt_minutes() -> None:
    """E15."""
    topics = _topics("shelly-gen1-plug")
    assert topics["shellies/m/relay/0"] == "on"
    assert int(topics["shellies/m/relay/0/energy"]) == _register("shelly-gen1-plug", per_wh=60)


def test_a_first_shellys_info_has_the_same_numbers_and_a_clock() -> None:
    body = _body("shelly-gen1-info")
    assert body["unixtime"] == AT_US // 10**6
    assert body["emeters"][0]["total"] == _register("shelly-gen1-info", per_wh=10) / 10


@pytest.mark.parametrize(
    ("kind", "topic", "keys"),
    [
        ("shelly-gen2-status", "m/status/em:0", {"a_act_power", "c_voltage", "n_current", "total_act_power"}),
        ("shelly-gen2-switch", "m/status/switch:0", {"output", "apower", "aenergy", "temperature"}),
        ("shelly-gen3-pm1", "m/status/pm1:0", {"apower", "voltage", "freq", "aenergy"}),
    ],
)
def test_a_shellys_status_topic_has_one_component_and_no_time(kind: str, topic: str, keys: set[str]) -> None:
    (message,) = _said(kind)
    body = json.loads(message.payload)
    assert (message.topic, message.device_time_us, body["id"]) == (topic, None, 0)
    assert keys <= set(body)
    assert "ts" not in body


def test_a_shelly_switch_has_its_register_in_watt_hours_and_its_minutes_in_thousandths() -> None:
    energy = _body("shelly-gen2-switch")["aenergy"]
    assert energy["total"] == _register("shelly-gen2-switch", per_wh=1000) / 1000
    assert energy["minute_ts"] == AT_US // 10**6 - 7
    power_w = _body("shelly-gen2-switch")["apower"]
    assert 0.3 * power_w * 1000 / 60 < energy["by_minute"][0] < 3 * power_w * 1000 / 60


def test_a_one_phase_shelly_tells_power_and_registers_apart() -> None:
    dialect, meter = MQTT_DIALECTS["shelly-gen2-em1"](), _meter("shelly-gen2-em1")
    (power,), (energy,) = dialect.messages(meter, AT_US), dialect.energy_messages(meter, AT_US)
    said = [json.loads(message.payload)["params"] for message in (power, energy)]
    assert (set(said[0]), set(said[1])) == ({"ts", "em1:0"}, {"ts", "em1data:0"})
    assert said[1]["em1data:0"]["total_act_energy"] == _register("shelly-gen2-em1", per_wh=100) / 100


def test_a_zigbee_plug_has_no_time_and_nulls_among_its_state() -> None:
    """E15."""
    (message,) = _said("zigbee2mqtt")
    body = json.loads(message.payload)
    assert (message.topic, message.device_time_us, body["update"]["state"]) == ("zigbee2mqtt/m", None, None)
    assert round(body["energy"] * 100) == _register("zigbee2mqtt") // 10


def test_an_esphome_node_publishes_plain_numbers_and_nan() -> None:
    """E6, E15."""
    topics = _topics("esphome")
    assert topics["m/sensor/phase_angle/state"] == "nan"
    assert topics["m/sensor/import_active_energy/state"] == f"{_register('esphome') // 10 / 100:.2f}"
    will = MQTT_DIALECTS["esphome"]().will(_meter("esphome"), AT_US)
    assert will is not None
    assert (will.topic, will.payload, will.retain) == ("m/status", b"offline", True)


def test_a_dutch_meter_counts_in_two_tariffs_and_never_below_zero() -> None:
    topics = {topic.removeprefix("m/dsmr/reading/"): text for topic, text in _topics("dsmr").items()}
    imported = sum(round(1000 * float(topics[f"electricity_delivered_{tariff}"])) for tariff in (1, 2))
    assert imported == _register("dsmr")
    assert float(topics["electricity_currently_delivered"]) == 0 < float(topics["electricity_currently_returned"])
    assert "extra_device_delivered" not in topics


def test_a_dutch_telegram_in_json_has_numbers_as_texts_and_nulls() -> None:
    """E15."""
    body = _body("dsmr-json")
    assert (body["timestamp"], body["id"], body["extra_device_delivered"]) == ("2026-03-01T12:00:07Z", None, None)
    assert isinstance(body["electricity_delivered_1"], str)
    assert isinstance(body["phase_power_current_l1"], int)


def test_a_p1_gateway_has_numbers_for_the_sum_and_for_each_tariff() -> None:
    body = _body("dsmr-p1")
    tariffs = body["total_power_import_t1_kwh"], body["total_power_import_t2_kwh"]
    assert round(1000 * sum(tariffs)) == round(1000 * body["total_power_import_kwh"]) == _register("dsmr-p1")
    assert body["active_power_w"] < 0


# A rebirth command and a death of an edge node, by Google's protobuf from tahu's sparkplug_b.proto.
REBIRTH = bytes.fromhex("0801121a0a144e6f646520436f6e74726f6c2f52656269727468200b7001")
DEATH = bytes.fromhex("08d8ca94caca3312120a05626453657118d8ca94caca3320045800")


def test_a_death_is_the_bytes_that_another_encoder_writes() -> None:
    death = SparkplugB().will(_meter("sparkplug-b"), AT_US)
    assert (death.topic, death.qos, death.payload) == ("spBv1.0/segs-sim/NDEATH/m", 1, DEATH)


def test_births_name_what_data_then_call_by_alias() -> None:
    node, meter = SparkplugB(), _meter("sparkplug-b")
    node.will(meter, AT_US)
    messages = [*node.on_connect(meter, AT_US), *node.messages(meter, AT_US)]
    assert [message.topic.split("/")[2] for message in messages] == ["NBIRTH", "DBIRTH", "DDATA"]
    birth, data = (_metrics(message.payload) for message in messages[1:])
    names = {metric[2]: metric[1].decode() for metric in birth if 2 in metric}
    power = next(metric for metric in data if names[metric[2]] == "Power")
    assert struct.unpack(">i", struct.pack(">I", power[10]))[0] == messages[2].values["power_w"] < 0
    energy = next(metric for metric in data if names[metric[2]] == "Energy Import")
    assert (energy[4], energy[11]) == (8, _register("sparkplug-b"))
    # A set of properties: one key, one value of type string. Power has none.
    [said] = {metric[9] for metric in birth if metric.get(1) in (b"Energy Import", b"Energy Export")}
    assert list(_fields(said)) == [(1, b"engUnit"), (2, b"\x08\x0c\x42\x02Wh")]
    assert [metric for metric in [*birth, *data] if 9 in metric and metric.get(1, b"")[:6] != b"Energy"] == []
    voltage = next(metric for metric in data if names[metric[2]] == "L1/Voltage")
    assert struct.unpack("<f", voltage[12])[0] == messages[2].values["voltage_l1_v"]
    assert all(1 not in metric for metric in data)
    assert [metric[1] for metric in birth if metric.get(7)] == [b"Neutral/Current"]


def test_the_sequence_goes_round_at_256_and_starts_anew_with_a_birth() -> None:
    node, meter = SparkplugB(), _meter("sparkplug-b")
    node.will(meter, AT_US)
    births = node.on_connect(meter, AT_US)
    data = [node.messages(meter, AT_US)[0] for _ in range(255)]
    assert [dict(_fields(m.payload))[3] for m in (*births, data[0], data[253], data[254])] == [0, 1, 2, 255, 0]
    rebirths = node.on_message(meter, "spBv1.0/segs-sim/NCMD/m", REBIRTH, AT_US)
    assert [dict(_fields(m.payload))[3] for m in rebirths] == [0, 1]
    assert not node.on_message(meter, "spBv1.0/segs-sim/NCMD/m", REBIRTH[:-1] + b"\0", AT_US)


def test_a_death_belongs_to_the_birth_of_its_connection() -> None:
    node, meter = SparkplugB(), _meter("sparkplug-b")
    for connection in range(3):
        (death,) = _metrics(node.will(meter, AT_US).payload)
        birth, _ = _metrics(node.on_connect(meter, AT_US)[0].payload)
        assert (birth[1], birth.get(11), death.get(11)) == (b"bdSeq", connection, connection)


@pytest.mark.parametrize("kind", MQTT_DIALECTS)
def test_what_a_message_is_said_to_carry_is_what_the_meter_measures_by_canonical_name(kind: str) -> None:
    dialect, meter = MQTT_DIALECTS[kind](), _meter(kind)
    snapshot = meter.at(AT_US)
    dialect.will(meter, AT_US)
    said = [*dialect.on_connect(meter, AT_US), *dialect.messages(meter, AT_US), *dialect.energy_messages(meter, AT_US)]
    known = snapshot.values.keys() | snapshot.registers_nj.keys()
    for message in said:
        assert message.values.keys() <= known
        for quantity, value in message.values.items():
            exact = snapshot.value(quantity)
            assert exact is not None
            step = 10 if quantity.startswith("energy") else 0.5
            assert abs(value) == pytest.approx(abs(exact), rel=1e-6, abs=step), quantity


@pytest.mark.parametrize(
    ("kind", "row", "parts"),
    [
        ("tasmota-dual", 2, ["ENERGY"]),
        ("tasmota", 3, ["ENERGY"]),
        ("tasmota-sml", 1, ["SML"]),
        ("shelly-gen2", 4, ["params", "em:0"]),
        ("zigbee2mqtt", 7, []),
    ],
)
def test_payloads_have_the_keys_of_those_from_real_devices(kind: str, row: int, parts: list[str]) -> None:
    """Against captured payloads; BL09XX is a chip's own part."""
    if not REAL.exists():
        pytest.skip(f"{REAL} is not there")
    real = json.loads(json.loads(REAL.read_text(encoding="utf-8").splitlines()[row])["payload"])
    real = real.get("StatusSNS", real)
    ours = _body(kind)
    for part in parts:
        real, ours = real[part], ours[part]
    assert ours.keys() == real.keys() - {"BL09XX"}


def test_a_shellys_registers_have_the_keys_of_those_of_a_real_one() -> None:
    if not REAL.exists():
        pytest.skip(f"{REAL} is not there")
    real = json.loads(json.loads(REAL.read_text(encoding="utf-8").splitlines()[5])["payload"])
    (energy,) = MQTT_DIALECTS["shelly-gen2"]().energy_messages(_meter("shelly-gen2"), AT_US)
    assert json.loads(energy.payload)["params"]["emdata:0"].keys() == real["params"]["emdata:0"].keys()


def _metrics(payload: bytes) -> list[dict[int, Any]]:
    return [dict(_fields(data)) for number, data in _fields(payload) if number == 2]


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and values as they stand: whole numbers, or the bytes of everything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(key & 7)
        if size is None:
            size, at = _varint(data, at)
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            return value, at
