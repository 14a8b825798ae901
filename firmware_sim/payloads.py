"""What MQTT meters publish: payload and the values in it, canonical names and units, exactly as printed."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from firmware_sim.load import DAY_S, NJ_PER_WH
from firmware_sim.meter import Meter

Number = int | float


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `device_time_us` is the time that the payload states."""

    topic: str
    payload: bytes
    device_time_us: int
    values: dict[str, Number]


def tasmota(meter: Meter, t_us: int) -> Message:
    """Telemetry of a Tasmota plug: clock without zone (this one's is UTC) in whole seconds, energy in kWh.

    Resolutions are Tasmota's defaults: PowerRes 0, VoltRes 0, AmpRes 3, EnergyRes 3. `t_us` must be a whole second.
    """
    second, rest = divmod(t_us, 10**6)
    if rest:
        raise ValueError(f"{t_us} is not a whole second, and Tasmota's clock has nothing finer")
    snapshot = meter.at(t_us)
    values = snapshot.values
    midnight_us = second // DAY_S * DAY_S * 10**6
    total_wh, today_wh, yesterday_wh = (
        meter.at(at_us).registers_nj["energy_import_wh"] // NJ_PER_WH
        for at_us in (t_us, midnight_us, midnight_us - DAY_S * 10**6)
    )
    served: dict[str, Number] = {
        "power_w": round(values["power_w"]),
        "apparent_power_va": round(values["apparent_power_va"]),
        "reactive_power_var": round(abs(values["reactive_power_var"])),
        "power_factor": round(values["power_factor"], 2),
        "voltage_l1_v": round(values["voltage_l1_v"]),
        "current_l1_a": round(values["current_l1_a"], 3),
        "energy_import_wh": total_wh,
    }
    body = {
        "Time": datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "ENERGY": {
            "TotalStartTime": "2024-01-01T00:00:00",
            "Total": total_wh / 1000,
            "Yesterday": (today_wh - yesterday_wh) / 1000,
            "Today": (total_wh - today_wh) / 1000,
            "Period": 0,
            "Power": served["power_w"],
            "ApparentPower": served["apparent_power_va"],
            "ReactivePower": served["reactive_power_var"],
            "Factor": served["power_factor"],
            "Voltage": served["voltage_l1_v"],
            "Current": served["current_l1_a"],
        },
    }
    return Message(f"tele/{meter.name}/SENSOR", _json(body), t_us, served)


def shelly_power(meter: Meter, t_us: int) -> Message:
    """`em:0` of a Shelly Pro 3EM: the moment's values. `t_us` must be a multiple of 10 ms, the clock's resolution."""
    values = meter.at(t_us).values
    status: dict[str, Number | None] = {"id": 0}
    served: dict[str, Number] = {"frequency_hz": round(values["frequency_hz"], 1)}
    current_a = 0.0
    for phase, letter in enumerate("abc", 1):
        power_w = round(values[f"power_l{phase}_w"], 1)
        voltage_v = round(values[f"voltage_l{phase}_v"], 1)
        phase_a = round(values[f"current_l{phase}_a"], 3)
        current_a += phase_a
        served |= {f"power_l{phase}_w": power_w, f"voltage_l{phase}_v": voltage_v, f"current_l{phase}_a": phase_a}
        status |= {
            f"{letter}_current": phase_a,
            f"{letter}_voltage": voltage_v,
            f"{letter}_act_power": power_w,
            f"{letter}_aprt_power": round(voltage_v * phase_a, 1),
            f"{letter}_pf": round(abs(values["power_factor"]), 2),
            f"{letter}_freq": served["frequency_hz"],
        }
    served |= {"power_w": round(values["power_w"], 3), "apparent_power_va": round(values["apparent_power_va"], 3)}
    status |= {
        "n_current": None,
        "total_current": round(current_a, 3),
        "total_act_power": served["power_w"],
        "total_aprt_power": served["apparent_power_va"],
    }
    return _notification(meter.name, t_us, "em:0", status, served)


def shelly_energy(meter: Meter, t_us: int) -> Message:
    """`emdata:0` of a Shelly Pro 3EM: its registers, Wh with two decimals. `t_us` as in `shelly_power`."""
    registers = meter.at(t_us).registers_nj
    imported, exported = (registers[name] // (NJ_PER_WH // 100) for name in ("energy_import_wh", "energy_export_wh"))
    status: dict[str, Number | None] = {"id": 0}
    for letter, share in (("a", 5), ("b", 3), ("c", 2)):
        status |= {
            f"{letter}_total_act_energy": imported * share // 10 / 100,
            f"{letter}_total_act_ret_energy": exported * share // 10 / 100,
        }
    served: dict[str, Number] = {"energy_import_wh": imported / 100, "energy_export_wh": exported / 100}
    status |= {"total_act": served["energy_import_wh"], "total_act_ret": served["energy_export_wh"]}
    return _notification(meter.name, t_us, "emdata:0", status, served)


def _notification(
    name: str, t_us: int, component: str, status: dict[str, Number | None], served: dict[str, Number]
) -> Message:
    hundredths, rest = divmod(t_us, 10_000)
    if rest:
        raise ValueError(f"{t_us} is not a multiple of 10 ms, the resolution of the payload's clock")
    params = {"ts": hundredths / 100, component: status}
    body = {"src": name, "dst": f"{name}/events", "method": "NotifyStatus", "params": params}
    return Message(f"{name}/events/rpc", _json(body), t_us, served)


def _json(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
