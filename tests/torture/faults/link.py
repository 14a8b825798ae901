"""The link between the gateway and its receivers."""

import random
from typing import TYPE_CHECKING

from tests.torture.faults.kind import Kind, Settings
from tests.torture.proxy import FAIR, Weather

if TYPE_CHECKING:
    from tests.torture.stack import Stack


def _under(stack: "Stack", settings: Settings, weather: Weather) -> None:
    stack.proxy.weather = weather
    try:
        stack.wait(float(settings["for_s"]))
    finally:
        stack.proxy.weather = FAIR


def _cut(stack: "Stack", subject: str, settings: Settings) -> None:
    _under(stack, settings, Weather(refusing=True))


def _silent(stack: "Stack", subject: str, settings: Settings) -> None:
    _under(stack, settings, Weather(silent=True))


def _slow(stack: "Stack", subject: str, settings: Settings) -> None:
    """Late, and with a bandwidth that is halved again and again."""
    delay_s, rate = float(settings["delay_s"]), int(settings["bytes_per_s"])
    for _ in range(3):
        stack.proxy.weather = Weather(delay_s=delay_s, bytes_per_s=rate)
        stack.wait(float(settings["for_s"]) / 3)
        rate //= 2
    stack.proxy.weather = FAIR


def _deaf(stack: "Stack", subject: str, settings: Settings) -> None:
    """Requests arrive, answers do not; then the connections break, for whoever waits."""
    try:
        stack.proxy.weather = Weather(deaf=True)
        stack.wait(float(settings["for_s"]))
        stack.proxy.weather = Weather(refusing=True)
        stack.wait(0.1)
    finally:
        stack.proxy.weather = FAIR


def _resets(stack: "Stack", subject: str, settings: Settings) -> None:
    _under(stack, settings, Weather(resets=float(settings["chance"])))


def _while(chance: random.Random) -> Settings:
    return {"for_s": round(chance.uniform(0.2, 6), 3)}


def _slowly(chance: random.Random) -> Settings:
    return {
        "for_s": round(chance.uniform(2, 6), 3),
        "delay_s": round(chance.uniform(0, 0.5), 3),
        "bytes_per_s": chance.choice((2_000, 8_000, 32_000)),
    }


def _often(chance: random.Random) -> Settings:
    return {"for_s": round(chance.uniform(1, 6), 3), "chance": round(chance.uniform(0.2, 0.8), 2)}


KINDS = (
    Kind("link cut", ("link",), _cut, _while, takes_s=3),
    Kind("link silent", ("link",), _silent, _while, takes_s=3),
    Kind("link slow", ("link",), _slow, _slowly, takes_s=4),
    Kind("link half-open", ("link",), _deaf, _while, takes_s=3),
    Kind("link resets", ("link",), _resets, _often, takes_s=3),
)
