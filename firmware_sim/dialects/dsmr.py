"""What is said for a Dutch meter's P1 port, by DSMR-reader: a topic a value under `dsmr/reading/`, or one telegram in
JSON; and by a P1 gateway.

From its documentation (MQTT, per-topic and JSON defaults): kWh and kW with three decimals, V with one, whole A. A
register counts per tariff, so that import is the sum of `electricity_delivered_1` (low) and `_2`; power is delivered
less returned. In the JSON telegram decimals are texts and what the meter does not have is null. Several meters share
a broker here, so that each has its name in front of DSMR-reader's topics.
"""

import json
from datetime import UTC, datetime

from firmware_sim.dialects.dialect import Dialect, Message, Number
from firmware_sim.load import NJ_PER_WH
from firmware_sim.meter import Meter

_Fields = dict[str, str | int | None]


class Dsmr(Dialect):
    clock_us = 10**6

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        """In the order of the telegram; a quantity of two topics is served with the second of them.

        The time of all is in the first topic, `timestamp`.
        """
        fields, served = _telegram(meter, t_us)
        complete = {
            "electricity_delivered_2": "energy_import_wh",
            "electricity_returned_2": "energy_export_wh",
            "electricity_currently_returned": "power_w",
            **{f"phase_voltage_l{phase}": f"voltage_l{phase}_v" for phase in (1, 2, 3)},
            **{f"phase_power_current_l{phase}": f"current_l{phase}_a" for phase in (1, 2, 3)},
            **{f"phase_currently_returned_l{phase}": f"power_l{phase}_w" for phase in (1, 2, 3)},
        }
        return [
            Message(
                f"{meter.name}/dsmr/reading/{name}",
                f"{value}".encode(),
                t_us // 10**6 * 10**6,
                {complete[name]: served[complete[name]]} if name in complete else {},
            )
            for name, value in fields.items()
            if value is not None
        ]


class DsmrJson(Dsmr):
    """The telegram at once, `dsmr/json`."""

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        fields, served = _telegram(meter, t_us)
        payload = json.dumps({"id": None, **fields}, separators=(",", ":")).encode()
        return [Message(f"{meter.name}/dsmr/json", payload, t_us // 10**6 * 10**6, served)]


class P1Json(Dsmr):
    """A P1 gateway's own words for the same, those of HomeWizard's local API: numbers in kWh, W, V and A, and gas."""

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        _, served = _telegram(meter, t_us)
        body: dict[str, object] = {
            "smr_version": 50,
            "meter_model": "ISKRA 2M550E-1012",
            "wifi_strength": 100,
            "unique_id": f"{meter.serial_number:x}",
        }
        for way, quantity in (("import", "energy_import_wh"), ("export", "energy_export_wh")):
            whole = round(served[quantity])
            low = whole * 4 // 10
            body |= {
                f"total_power_{way}_kwh": whole / 1000,
                f"total_power_{way}_t1_kwh": low / 1000,
                f"total_power_{way}_t2_kwh": (whole - low) / 1000,
            }
        body |= {"active_power_w": served["power_w"]}
        for kind, unit in (("power", "w"), ("voltage", "v"), ("current", "a")):
            body |= {f"active_{kind}_l{n}_{unit}": served[f"{kind}_l{n}_{unit}"] for n in (1, 2, 3)}
        body |= {"total_gas_m3": 2569.646, "gas_timestamp": 210606140010}
        payload = json.dumps(body, separators=(",", ":")).encode()
        return [Message(f"{meter.name}/p1", payload, None, served)]


def _telegram(meter: Meter, t_us: int) -> tuple[_Fields, dict[str, Number]]:
    snapshot, second = meter.at(t_us), t_us // 10**6
    fields: _Fields = {"timestamp": datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    served: dict[str, Number] = {}
    for way, quantity in (("delivered", "energy_import_wh"), ("returned", "energy_export_wh")):
        whole = snapshot.registers_nj[quantity] // NJ_PER_WH
        low = whole * 4 // 10
        served[quantity] = whole
        fields |= {f"electricity_{way}_1": f"{low / 1000:.3f}", f"electricity_{way}_2": f"{(whole - low) / 1000:.3f}"}
    power_w = round(snapshot.values["power_w"])
    served["power_w"] = power_w
    fields |= {
        "electricity_currently_delivered": f"{max(power_w, 0) / 1000:.3f}",
        "electricity_currently_returned": f"{max(-power_w, 0) / 1000:.3f}",
    }
    for phase in (1, 2, 3):
        watts = round(snapshot.values[f"power_l{phase}_w"])
        served[f"power_l{phase}_w"] = watts
        fields |= {
            f"phase_currently_delivered_l{phase}": f"{max(watts, 0) / 1000:.3f}",
            f"phase_currently_returned_l{phase}": f"{max(-watts, 0) / 1000:.3f}",
        }
    fields |= {"extra_device_timestamp": None, "extra_device_delivered": None}
    for phase in (1, 2, 3):
        volts, amperes = round(snapshot.values[f"voltage_l{phase}_v"], 1), round(snapshot.values[f"current_l{phase}_a"])
        served |= {f"voltage_l{phase}_v": volts, f"current_l{phase}_a": amperes}
        fields |= {f"phase_voltage_l{phase}": f"{volts:.1f}", f"phase_power_current_l{phase}": amperes}
    return fields, served
