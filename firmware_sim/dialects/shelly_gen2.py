"""What a Shelly of the second or third generation says.

`events/rpc` carries NotifyStatus with a time in hundredths of a second and the components that changed;
`status/<component>` the whole status of one component, without a time. Energies are in Wh: with two decimals in
`emdata:0` and `em1data:0`, with three in `aenergy` of `switch:0` and `pm1:0`, whose `by_minute` is in mWh. From the
Gen2+ API reference: EM, EMData, EM1, EM1Data, Switch, PM1, MQTT.
"""

import json

from firmware_sim.dialects.dialect import Dialect, Message, Number
from firmware_sim.load import NJ_PER_WH
from firmware_sim.meter import Meter

_Status = dict[str, object]
_MINUTE_US = 60 * 10**6


class ShellyGen2(Dialect):
    """A Shelly Pro 3EM: `em:0` has the moment's values, `emdata:0` its registers, both in `events/rpc`."""

    clock_us = 10_000
    energy_apart = True

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        """`em:0`. Raises ValueError unless `t_us` is a multiple of 10 ms."""
        values = meter.at(t_us).values
        status: _Status = {"id": 0}
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
        return [_notification(meter.name, t_us, "em:0", status, served)]

    def energy_messages(self, meter: Meter, t_us: int) -> list[Message]:
        """`emdata:0`. `t_us` as in `messages`."""
        registers = meter.at(t_us).registers_nj
        imported, exported = (registers[name] // (NJ_PER_WH // 100) for name in _ENERGIES)
        status: _Status = {"id": 0}
        for letter, share in (("a", 5), ("b", 3), ("c", 2)):
            status |= {
                f"{letter}_total_act_energy": imported * share // 10 / 100,
                f"{letter}_total_act_ret_energy": exported * share // 10 / 100,
            }
        served: dict[str, Number] = {"energy_import_wh": imported / 100, "energy_export_wh": exported / 100}
        status |= {"total_act": served["energy_import_wh"], "total_act_ret": served["energy_export_wh"]}
        return [_notification(meter.name, t_us, "emdata:0", status, served)]


class ShellyGen2Status(ShellyGen2):
    """The same device with "generic status update over MQTT": `status/em:0`, `status/emdata:0`, and no time."""

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        return [_as_status(message) for message in super().messages(meter, t_us)]

    def energy_messages(self, meter: Meter, t_us: int) -> list[Message]:
        return [_as_status(message) for message in super().energy_messages(meter, t_us)]


class ShellyGen2Em1(Dialect):
    """A Shelly Pro EM-50, first clamp: `em1:0` and `em1data:0`, in `events/rpc`."""

    clock_us = 10_000
    phases = 1
    energy_apart = True

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        values = meter.at(t_us).values
        served: dict[str, Number] = {
            "current_l1_a": round(values["current_l1_a"], 3),
            "voltage_l1_v": round(values["voltage_l1_v"], 1),
            "power_w": round(values["power_w"], 1),
            "apparent_power_va": round(values["apparent_power_va"], 1),
            "power_factor": round(abs(values["power_factor"]), 2),
            "frequency_hz": round(values["frequency_hz"], 1),
        }
        status: _Status = {
            "id": 0,
            "current": served["current_l1_a"],
            "voltage": served["voltage_l1_v"],
            "act_power": served["power_w"],
            "aprt_power": served["apparent_power_va"],
            "pf": served["power_factor"],
            "freq": served["frequency_hz"],
            "calibration": "factory",
        }
        return [_notification(meter.name, t_us, "em1:0", status, served)]

    def energy_messages(self, meter: Meter, t_us: int) -> list[Message]:
        registers = meter.at(t_us).registers_nj
        imported, exported = (registers[name] // (NJ_PER_WH // 100) / 100 for name in _ENERGIES)
        status: _Status = {"id": 0, "total_act_energy": imported, "total_act_ret_energy": exported}
        served: dict[str, Number] = {"energy_import_wh": imported, "energy_export_wh": exported}
        return [_notification(meter.name, t_us, "em1data:0", status, served)]


class ShellyGen2Switch(Dialect):
    """A Shelly Plus 1PM: `status/switch:0`, with no time but that of the minute."""

    phases = 1
    exports = False
    component = "switch:0"

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        snapshot, values = meter.at(t_us), meter.at(t_us).values
        total = snapshot.registers_nj["energy_import_wh"] * 1000 // NJ_PER_WH
        minute_us = t_us // _MINUTE_US * _MINUTE_US
        by_minute = []
        for back in range(3):
            end, start = (meter.at(minute_us - (back + more) * _MINUTE_US).registers_nj for more in (0, 1))
            by_minute.append((end["energy_import_wh"] - start["energy_import_wh"]) * 1000 // NJ_PER_WH * 1.0)
        served: dict[str, Number] = {
            "power_w": round(values["power_w"], 1),
            "voltage_l1_v": round(values["voltage_l1_v"], 1),
            "frequency_hz": round(values["frequency_hz"], 1),
            "current_l1_a": round(values["current_l1_a"], 3),
            "energy_import_wh": total / 1000,
        }
        status = {
            "id": 0,
            "source": "init",
            "output": True,
            "apower": served["power_w"],
            "voltage": served["voltage_l1_v"],
            "freq": served["frequency_hz"],
            "current": served["current_l1_a"],
            "aenergy": {"total": total / 1000, "by_minute": by_minute, "minute_ts": minute_us // 10**6},
            "temperature": {"tC": 41.3, "tF": 106.4},
        }
        if self.component == "pm1:0":
            del status["source"], status["output"], status["temperature"]
        return [Message(f"{meter.name}/status/{self.component}", _json(status), None, served)]


class ShellyGen3Pm1(ShellyGen2Switch):
    """A Shelly PM Mini Gen3: `status/pm1:0`."""

    component = "pm1:0"


_ENERGIES = ("energy_import_wh", "energy_export_wh")


def _notification(name: str, t_us: int, component: str, status: _Status, served: dict[str, Number]) -> Message:
    hundredths, rest = divmod(t_us, 10_000)
    if rest:
        raise ValueError(f"{t_us} is not a multiple of 10 ms, the resolution of the payload's clock")
    params = {"ts": hundredths / 100, component: status}
    body = {"src": name, "dst": f"{name}/events", "method": "NotifyStatus", "params": params}
    return Message(f"{name}/events/rpc", _json(body), t_us, served)


def _as_status(message: Message) -> Message:
    body = json.loads(message.payload)
    ((component, status),) = ((name, said) for name, said in body["params"].items() if name != "ts")
    return Message(f"{body['src']}/status/{component}", _json(status), None, message.values)


def _json(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
