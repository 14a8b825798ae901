"""Which faults can happen to which meters."""

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
