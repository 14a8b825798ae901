"""Telemetry of a Tasmota plug: clock without zone (this one's is UTC) in whole seconds, energy in kWh.

Resolutions are Tasmota's defaults: PowerRes 0, VoltRes 0, AmpRes 3, EnergyRes 3.
"""

import json
from datetime import UTC, datetime

from firmware_sim.dialects.dialect import Dialect, Message, Number
from firmware_sim.load import DAY_S, NJ_PER_WH
from firmware_sim.meter import Meter


class Tasmota(Dialect):
    clock_us = 10**6
    phases = 1
    exports = False

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        """One message. Raises ValueError unless `t_us` is a whole second."""
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
        payload = json.dumps(body, separators=(",", ":")).encode()
        return [Message(f"tele/{meter.name}/SENSOR", payload, t_us, served)]
