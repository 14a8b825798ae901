"""Which faults can happen to which meters."""

from collections.abc import Collection
from typing import Literal

from firmware_sim.faults.kinds import KINDS
from firmware_sim.faults.spec import FaultSpec

Transport = Literal["tcp", "tls", "rtu-over-tcp", "rtu", "mqtt"]


def refusal(spec: FaultSpec, transport: Transport) -> str:
    """Why `spec` cannot happen to a meter behind `transport`, and what to do; "" if it can."""
    scope, kind = KINDS[spec.kind].scope, spec.kind
    if transport == "mqtt":
        if scope in ("reply", "endpoint") or kind == "nan":
            return f"{kind} is for Modbus meters: use another kind"
    elif scope == "mqtt":
        return f"{kind} is for MQTT meters: use another kind"
    elif kind == "crc" and transport in ("tcp", "tls"):
        return "Modbus TCP has no CRC: use transport rtu or rtu-over-tcp, or another kind"
    elif kind == "wrong-transaction" and transport in ("rtu", "rtu-over-tcp"):
        return "RTU frames have no transaction number: use transport tcp, or another kind"
    elif transport == "rtu" and (scope == "endpoint" or kind == "close"):
        return f"a serial line has no connections, so no {kind}: use another kind"
    return ""


def lacking(spec: FaultSpec, *, model: str, quantities: Collection[str]) -> str:
    """Why a meter of `model`, which tells `quantities`, would not show `spec`, and what to do; "" if it does."""
    shown = _shown(spec)
    if not shown or any(name in quantities for name in shown):
        return ""
    return f"{model} has no {' or '.join(shown)}, so no {spec.kind}: use a model that has, or another kind"


def _shown(spec: FaultSpec) -> tuple[str, ...]:
    """By which quantities a meter shows it, each alone enough; none where any meter does."""
    if spec.quantity is not None:
        return (spec.quantity,)
    match spec.kind:
        case "voltage":
            return tuple(f"voltage_l{phase}_v" for phase in ((1, 2, 3) if spec.phase is None else (spec.phase,)))
        case "phase-loss":
            phase = spec.phase or 1
            return (f"voltage_l{phase}_v", f"current_l{phase}_a", f"power_l{phase}_w")
        case "frequency":
            return ("frequency_hz",)
        case "overload" | "no-load":
            return ("power_w",)
        case "power-factor":
            return ("power_factor", "reactive_power_var", "apparent_power_va")
        case "reverse":
            return ("energy_export_wh",)
        case "backwards":
            return ("energy_import_wh", "energy_export_wh")
    return ()
