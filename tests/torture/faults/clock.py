"""The gateway's clock: steps by seconds to hours, and a start in 1970 where there is no clock that runs on."""

import random
import time
from typing import TYPE_CHECKING

from tests.torture.faults.kind import Kind, Settings

if TYPE_CHECKING:
    from tests.torture.stack import Stack


def _step(stack: "Stack", subject: str, settings: Settings) -> None:
    """A step, and after a while it is right again, which is another one."""
    shim = stack.shims[subject]
    shim.step_clock(float(settings["by_s"]))
    try:
        stack.wait(float(settings["for_s"]))
    finally:
        shim.step_clock(0)
    stack.wait(0.5)


def _without_time(stack: "Stack", subject: str, settings: Settings) -> None:
    """A board without a battery starts in 1970; the time comes over the network later."""
    shim = stack.shims[subject]
    stack.kill(subject)
    shim.step_clock(float(settings["uptime_s"]) - time.time())
    try:
        stack.start(subject)
        stack.wait(float(settings["for_s"]))
    finally:
        shim.step_clock(0)
    stack.wait(0.5)


def _steps(sign: int, chance: random.Random) -> Settings:
    size_s = chance.choice((chance.uniform(0.5, 5), chance.uniform(30, 300), chance.uniform(600, 5 * 3600)))
    return {"by_s": round(sign * size_s, 3), "for_s": round(chance.uniform(0.5, 5), 3)}


def _forward(chance: random.Random) -> Settings:
    return _steps(1, chance)


def _back(chance: random.Random) -> Settings:
    return _steps(-1, chance)


def _late(chance: random.Random) -> Settings:
    return {"uptime_s": round(chance.uniform(5, 60), 3), "for_s": round(chance.uniform(2, 6), 3)}


KINDS = (
    Kind("clock forward", ("edge",), _step, _forward, takes_s=4, needs=("shim",)),
    Kind("clock back", ("edge",), _step, _back, takes_s=4, needs=("shim",)),
    Kind("clock of 1970", ("edge",), _without_time, _late, takes_s=6, needs=("shim",)),
)
