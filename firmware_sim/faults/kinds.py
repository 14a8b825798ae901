"""Every kind of fault: where it acts, what it takes, what it does on the wire."""

from dataclasses import dataclass
from typing import Literal

Scope = Literal["meter", "reply", "endpoint", "grid", "value", "mqtt"]


@dataclass(frozen=True, slots=True)
class Kind:
    """`scope`: any meter as a whole, a Modbus reply, a whole Modbus endpoint, grid and installation of any meter, its
    values, or an MQTT meter's messages.

    `takes` are its own parameters and `how` the variants, the first the default.
    """

    scope: Scope
    says: str
    takes: tuple[str, ...] = ()
    how: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "timeout": Kind("reply", "no answer"),
    "delay": Kind("reply", "the answer comes delay_s later (1 s); what follows on the connection waits", ("delay_s",)),
    "late": Kind(
        "reply",
        "the answer comes delay_s later (1.5 s), or just before the next one's if that is sooner",
        ("delay_s",),
    ),
    "wrong-unit": Kind("reply", "the answer bears another unit's address: unit, or the next one", ("unit",)),
    "wrong-transaction": Kind("reply", "the answer bears the number of another request: offset (-1)", ("offset",)),
    "crc": Kind("reply", "the answer's CRC is wrong (RTU framing)"),
    "truncate": Kind("reply", "the answer ends after `bytes` bytes, or half of it", ("bytes",)),
    "garbage": Kind("reply", "`bytes` bytes (8) of noise instead of the answer", ("bytes",)),
    "exception": Kind("reply", "exception `code` (4) instead of the answer", ("code",)),
    "illegal-address": Kind(
        "reply",
        "exception 2 for every request that touches `count` (1) registers from `address`, or those of `quantity`",
        ("address", "count", "quantity"),
    ),
    "close": Kind(
        "reply",
        "the connection ends: on the request, after the reply, or in the middle of it",
        how=("request", "reply", "mid-reply"),
    ),
    "refuse": Kind("endpoint", "connections are refused, and those that exist broken"),
    "close-on-accept": Kind("endpoint", "every connection is closed as soon as it is accepted"),
    "silent": Kind("endpoint", "connections are accepted and nothing is ever answered"),
    "one-connection": Kind(
        "endpoint",
        "one connection at a time: another one is closed, or it closes the one that was there",
        how=("refuse", "replace"),
    ),
    "mute": Kind("meter", "the meter says nothing: it answers no request and publishes no message"),
    "voltage": Kind(
        "grid",
        "the voltage of `phase`, or of all, is `percent` (80) of what it was; current follows, power as the square",
        ("phase", "percent"),
    ),
    "phase-loss": Kind(
        "grid", "`phase` (1) has `percent` (3) of its voltage, no current and no power", ("phase", "percent")
    ),
    "frequency": Kind("grid", "the frequency is about `hz` (48)", ("hz",)),
    "overload": Kind("grid", "the load is `factor` times (2) what it would be, or about `w` W", ("factor", "w")),
    "no-load": Kind("grid", "nothing draws power; voltages stay"),
    "power-factor": Kind("grid", "the power factor is `value` (0.7), lagging; active power stays", ("value",)),
    "reverse": Kind("grid", "power flows out, about `w` W (1000)", ("w",)),
    "backwards": Kind(
        "grid",
        "`quantity`, or every energy register, falls by `wh` Wh (1000) and goes on from there",
        ("wh", "quantity"),
    ),
    "nan": Kind("value", "`quantity`, or every one, has no value, as this model says it (Modbus)", ("quantity",)),
    "stuck": Kind("value", "`quantity`, or every one, stays as it was when the fault began", ("quantity",)),
    "zero": Kind("value", "`quantity`, or every one, reads 0; once, unless for_s or times say more", ("quantity",)),
    "rollover": Kind("value", "energy registers begin again at 0 after `wh` Wh (10,000,000)", ("wh", "quantity")),
    "reset": Kind("value", "energy registers count from 0 when the fault begins", ("quantity",)),
    "exchange": Kind("value", "another meter: a new serial number, energy registers go on from `wh` Wh (0)", ("wh",)),
    "clock": Kind(
        "mqtt",
        "the payload's clock shows the time since 1970, or ten years too much, or another zone's; or is offset_s ahead",
        ("offset_s",),
        how=("1970", "future", "zone"),
    ),
    "disconnect": Kind(
        "mqtt",
        "the connection ends, by a closed socket (the broker publishes the will) or cleanly, and returns after for_s",
        how=("abrupt", "clean"),
    ),
    "duplicate": Kind("mqtt", "every message is published twice"),
    "retained": Kind("mqtt", "messages are kept by the broker, which gives the last one to every later subscriber"),
}
