"""A Shelly Pro 3EM: `em:0` has the moment's values, `emdata:0` its registers in Wh with two decimals."""

import json

from firmware_sim.dialects.dialect import Dialect, Message, Number
from firmware_sim.load import NJ_PER_WH
from firmware_sim.meter import Meter


class ShellyGen2(Dialect):
    clock_us = 10_000
    energy_apart = True

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        """`em:0`. Raises ValueError unless `t_us` is a multiple of 10 ms."""
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
        return [_notification(meter.name, t_us, "em:0", status, served)]

    def energy_messages(self, meter: Meter, t_us: int) -> list[Message]:
        """`emdata:0`. `t_us` as in `messages`."""
        registers = meter.at(t_us).registers_nj
        imported, exported = (
            registers[name] // (NJ_PER_WH // 100) for name in ("energy_import_wh", "energy_export_wh")
        )
        status: dict[str, Number | None] = {"id": 0}
        for letter, share in (("a", 5), ("b", 3), ("c", 2)):
            status |= {
                f"{letter}_total_act_energy": imported * share // 10 / 100,
                f"{letter}_total_act_ret_energy": exported * share // 10 / 100,
            }
        served: dict[str, Number] = {"energy_import_wh": imported / 100, "energy_export_wh": exported / 100}
        status |= {"total_act": served["energy_import_wh"], "total_act_ret": served["energy_export_wh"]}
        return [_notification(meter.name, t_us, "emdata:0", status, served)]


def _notification(
    name: str, t_us: int, component: str, status: dict[str, Number | None], served: dict[str, Number]
) -> Message:
    hundredths, rest = divmod(t_us, 10_000)
    if rest:
        raise ValueError(f"{t_us} is not a multiple of 10 ms, the resolution of the payload's clock")
    params = {"ts": hundredths / 100, component: status}
    body = {"src": name, "dst": f"{name}/events", "method": "NotifyStatus", "params": params}
    return Message(f"{name}/events/rpc", json.dumps(body, separators=(",", ":")).encode(), t_us, served)
