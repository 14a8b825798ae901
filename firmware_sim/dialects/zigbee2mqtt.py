"""What Zigbee2MQTT says for a metering plug (TS011F): the device's whole state in one object, by no clock.

From its documentation (MQTT topics and messages, TS011F): `energy` in kWh with two decimals, `power` in W, `voltage`
in V, `current` in A; other state beside, with nulls in it. `availability` is retained, in JSON.
"""

import json

from firmware_sim.dialects.dialect import Dialect, Message, Number
from firmware_sim.load import NJ_PER_WH
from firmware_sim.meter import Meter


class Zigbee2Mqtt(Dialect):
    phases = 1
    exports = False

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        snapshot = meter.at(t_us)
        hundredths = snapshot.registers_nj["energy_import_wh"] // (10 * NJ_PER_WH)
        served: dict[str, Number] = {
            "current_l1_a": round(snapshot.values["current_l1_a"], 2),
            "power_w": round(snapshot.values["power_w"]),
            "voltage_l1_v": round(snapshot.values["voltage_l1_v"]),
            "energy_import_wh": hundredths * 10,
        }
        body = {
            "child_lock": "UNLOCK",
            "current": served["current_l1_a"],
            "energy": hundredths / 100,
            "indicator_mode": "off",
            "linkquality": 102,
            "power": served["power_w"],
            "power_outage_memory": "off",
            "state": "ON",
            "update": {"installed_version": -1, "latest_version": -1, "state": None},
            "update_available": None,
            "voltage": served["voltage_l1_v"],
        }
        return [Message(f"zigbee2mqtt/{meter.name}", json.dumps(body, separators=(",", ":")).encode(), None, served)]

    def on_connect(self, meter: Meter, t_us: int) -> list[Message]:
        return [Message(f"zigbee2mqtt/{meter.name}/availability", b'{"state":"online"}', retain=True)]

    def on_disconnect(self, meter: Meter, t_us: int) -> list[Message]:
        return [Message(f"zigbee2mqtt/{meter.name}/availability", b'{"state":"offline"}', retain=True)]
