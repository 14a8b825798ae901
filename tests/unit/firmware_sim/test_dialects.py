import json

import pytest

from firmware_sim.dialects.dialect import Dialect, Message
from firmware_sim.dialects.shelly_gen2 import ShellyGen2
from firmware_sim.dialects.tasmota import Tasmota
from firmware_sim.meter import Meter
from firmware_sim.mqtt.publisher import Schedule

# 2026-03-01T12:00:07Z
AT_US = 1_772_366_407 * 10**6
NJ_PER_WH = 3_600 * 10**9


def _meter(phases: int = 3, pv_peak_w: int = 0) -> Meter:
    return Meter(seed=7, name="m", peak_w=2000, phases=phases, pv_peak_w=pv_peak_w)


def _register_nj(meter: Meter, at_us: int, name: str = "energy_import_wh") -> int:
    return meter.at(at_us).registers_nj[name]


def test_tasmota_tells_whole_watt_hours_in_kwh_and_the_utc_second_without_a_zone() -> None:
    """E15."""
    meter = _meter(phases=1)
    (message,) = Tasmota().messages(meter, AT_US)
    body = json.loads(message.payload)
    total_wh = _register_nj(meter, AT_US) // NJ_PER_WH
    assert (message.topic, body["Time"], message.device_time_us) == ("tele/m/SENSOR", "2026-03-01T12:00:07", AT_US)
    assert body["ENERGY"]["Total"] == total_wh / 1000
    assert message.values["energy_import_wh"] == total_wh
    assert body["ENERGY"]["Power"] == message.values["power_w"] == round(meter.at(AT_US).values["power_w"])


def test_tasmotas_today_and_yesterday_add_up_to_the_register() -> None:
    meter = _meter(phases=1)
    energy = json.loads(Tasmota().messages(meter, AT_US)[0].payload)["ENERGY"]
    start_wh = _register_nj(meter, AT_US - (36 * 3600 + 7) * 10**6) // NJ_PER_WH
    assert round((energy["Total"] - energy["Today"] - energy["Yesterday"]) * 1000) == start_wh


def test_shelly_tells_power_and_registers_in_separate_messages_wh_with_two_decimals() -> None:
    """E15."""
    meter = _meter(pv_peak_w=3000)
    dialect = ShellyGen2()
    (power,), (energy,) = dialect.messages(meter, AT_US + 70_000), dialect.energy_messages(meter, AT_US + 70_000)
    params = json.loads(energy.payload)["params"]
    exported_wh = _register_nj(meter, AT_US + 70_000, "energy_export_wh") // (NJ_PER_WH // 100) / 100
    assert (params["ts"], energy.topic) == (1_772_366_407.07, "m/events/rpc")
    assert params["emdata:0"]["total_act_ret"] == energy.values["energy_export_wh"] == exported_wh
    assert not power.values.keys() & energy.values.keys()
    assert json.loads(power.payload)["params"]["em:0"]["total_act_power"] == power.values["power_w"] < 0


@pytest.mark.parametrize(("dialect", "at_us"), [(Tasmota(), AT_US + 10_000), (ShellyGen2(), AT_US + 1_000)])
def test_an_instant_that_the_devices_clock_cannot_say_is_refused(dialect: Dialect, at_us: int) -> None:
    with pytest.raises(ValueError, match="clock"):
        dialect.messages(_meter(), at_us)


def test_a_schedule_is_due_at_every_multiple_of_its_interval_and_never_twice() -> None:
    def nothing(_meter: Meter, _t_us: int) -> list[Message]:
        return []

    schedule = Schedule(nothing, interval_us=10**6, offset_us=500_000)
    due = schedule.after(AT_US)
    assert [due, schedule.after(due), schedule.after(due - 1)] == [AT_US + 500_000, AT_US + 1_500_000, due]
