"""What a Tasmota device says: `tele/…/SENSOR` every interval, the same inside "StatusSNS" when asked for its status.

Its clock has whole seconds and no zone (these are on UTC), energy is in kWh. Resolutions are Tasmota's defaults:
PowerRes 0, VoltRes 0, AmpRes 3, EnergyRes 3. From the Tasmota documentation: Commands (Status 8, Status 10), Energy
Monitoring, SetOption129 (split totals), Smart Meter Interface, Teleinfo.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from firmware_sim.dialects.dialect import Dialect, Message, Number
from firmware_sim.load import DAY_S, NJ_PER_WH
from firmware_sim.meter import Meter

_STARTED = "2024-01-01T00:00:00"


class Tasmota(Dialect):
    """A plug with one channel; the others say what differs in `_sensors`."""

    clock_us = 10**6
    phases: ClassVar[Literal[1, 3]] = 1
    exports = False

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        """One message. Raises ValueError unless `t_us` is a whole second."""
        body, served = self._said(meter, t_us)
        return [Message(f"tele/{meter.name}/SENSOR", _json(body), t_us, served)]

    def subscriptions(self, meter: Meter) -> list[str]:
        return [f"cmnd/{meter.name}/STATUS", f"cmnd/{meter.name}/Status"]

    def on_message(self, meter: Meter, topic: str, payload: bytes, t_us: int) -> list[Message]:
        """Status 8 is what Status 10 was in old firmware: both tell the sensors."""
        asked = payload.decode(errors="replace").strip()
        if asked not in ("8", "10"):
            return []
        body, served = self._said(meter, t_us // 10**6 * 10**6)
        return [Message(f"stat/{meter.name}/STATUS{asked}", _json({"StatusSNS": body}), t_us, served)]

    def _said(self, meter: Meter, t_us: int) -> tuple[dict[str, Any], dict[str, Number]]:
        second, rest = divmod(t_us, 10**6)
        if rest:
            raise ValueError(f"{t_us} is not a whole second, and Tasmota's clock has nothing finer")
        sensors, served = self._sensors(meter, t_us)
        return {"Time": datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S"), **sensors}, served

    def _sensors(self, meter: Meter, t_us: int) -> tuple[dict[str, Any], dict[str, Number]]:
        """What stands beside the time, and the quantities in it."""
        values = meter.at(t_us).values
        served: dict[str, Number] = {
            "power_w": round(values["power_w"]),
            "apparent_power_va": round(values["apparent_power_va"]),
            "reactive_power_var": round(abs(values["reactive_power_var"])),
            "power_factor": round(values["power_factor"], 2),
            "voltage_l1_v": round(values["voltage_l1_v"]),
            "current_l1_a": round(values["current_l1_a"], 3),
            "energy_import_wh": _days_wh(meter, t_us)[0],
        }
        total, today, yesterday = _days_wh(meter, t_us)
        energy = {
            "TotalStartTime": _STARTED,
            "Total": total / 1000,
            "Yesterday": yesterday / 1000,
            "Today": today / 1000,
            "Period": 0,
            "Power": served["power_w"],
            "ApparentPower": served["apparent_power_va"],
            "ReactivePower": served["reactive_power_var"],
            "Factor": served["power_factor"],
            "Voltage": served["voltage_l1_v"],
            "Current": served["current_l1_a"],
        }
        return {"ENERGY": energy}, served


class TasmotaDual(Tasmota):
    """A Sonoff Dual: two channels with a register each, in lists, and one voltage. The first has the larger part."""

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        return [replace(message, channels=_of_channels(message)) for message in super().messages(meter, t_us)]

    def on_message(self, meter: Meter, topic: str, payload: bytes, t_us: int) -> list[Message]:
        answers = super().on_message(meter, topic, payload, t_us)
        return [replace(answer, channels=_of_channels(answer)) for answer in answers]

    def _sensors(self, meter: Meter, t_us: int) -> tuple[dict[str, Any], dict[str, Number]]:
        values, days = meter.at(t_us).values, _days_wh(meter, t_us)
        larger, smaller = (lambda whole: whole * 7 // 10), (lambda whole: whole - whole * 7 // 10)
        power_w, apparent_va = round(values["power_w"]), round(values["apparent_power_va"])
        current_ma = round(values["current_l1_a"] * 1000)
        factor = round(values["power_factor"], 2)
        total, today, yesterday = ([larger(wh) / 1000, smaller(wh) / 1000] for wh in days)
        energy = {
            "TotalStartTime": _STARTED,
            "Total": total,
            "Yesterday": yesterday,
            "Today": today,
            "Power": [larger(power_w), smaller(power_w)],
            "ApparentPower": [larger(apparent_va), smaller(apparent_va)],
            "ReactivePower": [0, 0],
            "Factor": [factor, factor],
            "Voltage": round(values["voltage_l1_v"]),
            "Current": [larger(current_ma) / 1000, smaller(current_ma) / 1000],
        }
        return {"ENERGY": energy}, {}


class TasmotaThreePhases(Tasmota):
    """Three phases in lists, and totals as sums: SetOption129 is 0 unless told, so that Total is one number."""

    phases = 3

    def _sensors(self, meter: Meter, t_us: int) -> tuple[dict[str, Any], dict[str, Number]]:
        values = meter.at(t_us).values
        total, today, yesterday = _days_wh(meter, t_us)
        power = [round(values[f"power_l{phase}_w"]) for phase in (1, 2, 3)]
        voltage = [round(values[f"voltage_l{phase}_v"]) for phase in (1, 2, 3)]
        current = [round(values[f"current_l{phase}_a"], 3) for phase in (1, 2, 3)]
        frequency = round(values["frequency_hz"])
        energy = {
            "TotalStartTime": _STARTED,
            "Total": total / 1000,
            "Yesterday": yesterday / 1000,
            "Today": today / 1000,
            "Power": power,
            "Factor": [round(values["power_factor"], 2)] * 3,
            "Frequency": frequency,
            "Voltage": voltage,
            "Current": current,
        }
        served: dict[str, Number] = {
            "energy_import_wh": total,
            "power_w": sum(power),
            "frequency_hz": frequency,
            **{f"power_l{phase}_w": watts for phase, watts in enumerate(power, 1)},
            **{f"voltage_l{phase}_v": volts for phase, volts in enumerate(voltage, 1)},
            **{f"current_l{phase}_a": amperes for phase, amperes in enumerate(current, 1)},
        }
        return {"ENERGY": energy}, served


class TasmotaSml(Tasmota):
    """An optical head on a grid meter: the names are its owner's, energies have four decimals, other sensors beside."""

    phases = 3
    exports = True

    def _sensors(self, meter: Meter, t_us: int) -> tuple[dict[str, Any], dict[str, Number]]:
        snapshot = meter.at(t_us)
        imported, exported = (
            snapshot.registers_nj[name] // (NJ_PER_WH // 10) for name in ("energy_import_wh", "energy_export_wh")
        )
        power_w = round(snapshot.values["power_w"])
        sml = {
            "Total_in": imported / 10_000,
            "Total_out": exported / 10_000,
            "Power_curr": power_w,
            "Meter_number": f"0901454d48{meter.serial_number:011d}",
        }
        served: dict[str, Number] = {
            "energy_import_wh": imported / 10,
            "energy_export_wh": exported / 10,
            "power_w": power_w,
        }
        return {"HTU21": {"Temperature": 25.2, "Humidity": 45.5}, "SML": sml, "TempUnit": "C"}, served


class TasmotaTeleinfo(Tasmota):
    """A French Linky in standard mode: its labels in "TIC" (Wh, VA, V and A, whole), and "ENERGY" made of them."""

    def _sensors(self, meter: Meter, t_us: int) -> tuple[dict[str, Any], dict[str, Number]]:
        values = meter.at(t_us).values
        total, today, yesterday = _days_wh(meter, t_us)
        apparent_va, power_w = round(values["apparent_power_va"]), round(values["power_w"])
        voltage_v, current_a = round(values["voltage_l1_v"]), round(values["current_l1_a"])
        tic = {
            "ADSC": f"0411{meter.serial_number}",
            "VTIC": 2,
            "NGTF": "BASE",
            "LTARF": "BASE",
            "EAST": total,
            "EASF01": total,
            "EASF02": 0,
            "IRMS1": current_a,
            "URMS1": voltage_v,
            "PREF": 9,
            "PCOUP": 9,
            "SINSTS": apparent_va,
            "SMAXSN": 8450,
            "STGE": "003A0001",
            "MSG1": "PAS DE MESSAGE",
        }
        energy = {
            "TotalStartTime": _STARTED,
            "Total": total / 1000,
            "Yesterday": yesterday / 1000,
            "Today": today / 1000,
            "Period": 0,
            "Power": power_w,
            "ApparentPower": apparent_va,
            "ReactivePower": round(abs(values["reactive_power_var"])),
            "Factor": round(values["power_factor"], 2),
            "Voltage": voltage_v,
            "Current": current_a,
        }
        served: dict[str, Number] = {
            "energy_import_wh": total,
            "power_w": power_w,
            "apparent_power_va": apparent_va,
            "reactive_power_var": round(abs(values["reactive_power_var"])),
            "power_factor": round(values["power_factor"], 2),
            "voltage_l1_v": voltage_v,
            "current_l1_a": current_a,
        }
        return {"ENERGY": energy, "TIC": tic}, served


def _of_channels(message: Message) -> dict[int, dict[str, Number]]:
    """What each of the two channels has in `message`; the voltage is that of both."""
    body = json.loads(message.payload)
    energy = body.get("StatusSNS", body)["ENERGY"]
    return {
        channel + 1: {
            "energy_import_wh": round(energy["Total"][channel] * 1000),
            "power_w": energy["Power"][channel],
            "apparent_power_va": energy["ApparentPower"][channel],
            "reactive_power_var": energy["ReactivePower"][channel],
            "power_factor": energy["Factor"][channel],
            "voltage_l1_v": energy["Voltage"],
            "current_l1_a": energy["Current"][channel],
        }
        for channel in (0, 1)
    }


def _days_wh(meter: Meter, t_us: int) -> tuple[int, int, int]:
    """The import register and its growth today and yesterday, whole Wh, by the days of UTC."""
    midnight_us = t_us // (DAY_S * 10**6) * DAY_S * 10**6
    total, today, yesterday = (
        meter.at(at_us).registers_nj["energy_import_wh"] // NJ_PER_WH
        for at_us in (t_us, midnight_us, midnight_us - DAY_S * 10**6)
    )
    return total, total - today, today - yesterday


def _json(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
