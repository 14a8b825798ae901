"""What an ESPHome node says: `<node>/sensor/<name>/state`, one plain number a topic, "nan" where it has none.

From the ESPHome documentation (MQTT client component, sdm_meter): energies in kWh with two decimals, powers with two,
volts with two, amperes with three. The names are its owner's; these are those of the sdm_meter page. `<node>/status`
is the will.
"""

from firmware_sim.dialects.dialect import Dialect, Message, Number
from firmware_sim.load import NJ_PER_WH
from firmware_sim.meter import Meter

_INSTANTANEOUS = (
    ("current", "current_l1_a", 3),
    ("voltage", "voltage_l1_v", 2),
    ("active_power", "power_w", 2),
    ("apparent_power", "apparent_power_va", 2),
    ("reactive_power", "reactive_power_var", 2),
    ("power_factor", "power_factor", 3),
    ("frequency", "frequency_hz", 3),
)
_ENERGIES = (
    ("import_active_energy", "energy_import_wh"),
    ("export_active_energy", "energy_export_wh"),
)


class EspHome(Dialect):
    phases = 1
    own_connection = True

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        snapshot = meter.at(t_us)
        messages = [
            self._state(meter, name, snapshot.values[quantity], decimals, quantity)
            for name, quantity, decimals in _INSTANTANEOUS
        ]
        for name, quantity in _ENERGIES:
            hundredths = snapshot.registers_nj[quantity] // (10 * NJ_PER_WH)
            served: dict[str, Number] = {quantity: hundredths * 10}
            messages.append(_message(meter, name, f"{hundredths / 100:.2f}", served))
        # An angle that this meter does not measure, as a node publishes it after a failed read.
        return [*messages, _message(meter, "phase_angle", "nan", {})]

    def _state(self, meter: Meter, name: str, value: float, decimals: int, quantity: str) -> Message:
        text = f"{value:.{decimals}f}"
        return _message(meter, name, text, {quantity: float(text)})

    def on_connect(self, meter: Meter, t_us: int) -> list[Message]:
        return [Message(f"{meter.name}/status", b"online", retain=True)]

    def on_disconnect(self, meter: Meter, t_us: int) -> list[Message]:
        return [Message(f"{meter.name}/status", b"offline", retain=True)]

    def will(self, meter: Meter, t_us: int) -> Message:
        return Message(f"{meter.name}/status", b"offline", retain=True)


def _message(meter: Meter, name: str, text: str, served: dict[str, Number]) -> Message:
    return Message(f"{meter.name}/sensor/{name}/state", text.encode(), None, served, retain=True)
