"""What a Shelly of the first generation says: one plain number a topic under `shellies/<id>/`, and no time at all.

From the Gen1 API reference, MQTT: a Shelly EM has, below `emeter/0/`, `power` (W), `reactive_power` (var), `voltage`
(V), `energy` and `returned_energy` (watt-minutes; of the last minute here, which is not confirmed), `total` and
`total_returned` (Wh). A plug has, below `relay/0/`, `power` (W) and `energy`, a register in watt-minutes. `info` is
the device's whole status in JSON; `online` is retained.
"""

import json

from firmware_sim.dialects.dialect import Dialect, Message, Number
from firmware_sim.load import NJ_PER_WH
from firmware_sim.meter import Meter

_MINUTE_US = 60 * 10**6
_NJ_PER_WATT_MINUTE = NJ_PER_WH // 60


class ShellyGen1(Dialect):
    """A Shelly EM with one clamp."""

    phases = 1

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        _, served = _emeter(meter, t_us)
        before, now = meter.at(t_us - _MINUTE_US).registers_nj, meter.at(t_us).registers_nj
        minute = {name: (now[name] - before[name]) // _NJ_PER_WATT_MINUTE for name in _ENERGIES}
        below = f"shellies/{meter.name}/emeter/0"
        return [
            *(
                _plain(f"{below}/{topic}", served[quantity], {quantity: served[quantity]})
                for topic, quantity in (
                    ("power", "power_w"),
                    ("reactive_power", "reactive_power_var"),
                    ("voltage", "voltage_l1_v"),
                    ("total", "energy_import_wh"),
                    ("total_returned", "energy_export_wh"),
                )
            ),
            _plain(f"{below}/energy", minute["energy_import_wh"], {}),
            _plain(f"{below}/returned_energy", minute["energy_export_wh"], {}),
        ]

    def on_connect(self, meter: Meter, t_us: int) -> list[Message]:
        return [Message(f"shellies/{meter.name}/online", b"true", retain=True)]

    def on_disconnect(self, meter: Meter, t_us: int) -> list[Message]:
        return [Message(f"shellies/{meter.name}/online", b"false", retain=True)]


class ShellyGen1Info(ShellyGen1):
    """The same device by its `info` alone, which has the whole second of its clock in `unixtime`."""

    clock_us = 10**6

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        emeter, served = _emeter(meter, t_us)
        second = t_us // 10**6
        body = {
            "wifi_sta": {"connected": True, "rssi": -61},
            "mqtt": {"connected": True},
            "time": f"{second // 3600 % 24:02d}:{second // 60 % 60:02d}",
            "unixtime": second,
            "has_update": False,
            "relays": [{"ison": False, "source": "input"}],
            "emeters": [emeter],
            "uptime": second % 10**6,
        }
        payload = json.dumps(body, separators=(",", ":")).encode()
        return [Message(f"shellies/{meter.name}/info", payload, second * 10**6, served)]


class ShellyGen1Plug(ShellyGen1):
    """A Shelly Plug: power, and a register in watt-minutes."""

    exports = False

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        snapshot = meter.at(t_us)
        power_w = round(snapshot.values["power_w"], 2)
        watt_minutes = snapshot.registers_nj["energy_import_wh"] // _NJ_PER_WATT_MINUTE
        below = f"shellies/{meter.name}/relay/0"
        return [
            Message(below, b"on"),
            _plain(f"{below}/power", power_w, {"power_w": power_w}),
            _plain(f"{below}/energy", watt_minutes, {"energy_import_wh": watt_minutes / 60}),
        ]


_ENERGIES = ("energy_import_wh", "energy_export_wh")


def _emeter(meter: Meter, t_us: int) -> tuple[dict[str, object], dict[str, Number]]:
    """An entry of "emeters", and the quantities in it."""
    snapshot = meter.at(t_us)
    served: dict[str, Number] = {
        name: round(snapshot.values[name], 2) for name in ("power_w", "reactive_power_var", "voltage_l1_v")
    }
    served |= {name: snapshot.registers_nj[name] * 10 // NJ_PER_WH / 10 for name in _ENERGIES}
    entry: dict[str, object] = {
        "power": served["power_w"],
        "reactive": served["reactive_power_var"],
        "voltage": served["voltage_l1_v"],
        "is_valid": True,
        "total": served["energy_import_wh"],
        "total_returned": served["energy_export_wh"],
    }
    return entry, served


def _plain(topic: str, number: Number, served: dict[str, Number]) -> Message:
    return Message(topic, f"{number}".encode(), None, served)
