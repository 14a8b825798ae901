"""`python -m bench [NAME]`: one JSON line for each figure; exit 1 when one misses what is asked for."""

import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bench import (
    aggregate,
    alerts,
    api,
    billing,
    buffer,
    drain,
    incidents,
    ingest,
    line,
    login,
    million,
    mqtt,
    polling,
    queries,
    requests,
    scale,
    wire,
)
from bench.result import Result
from local.servers import segs_home


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What was asked for; None where the benchmark is to choose."""

    home: Path
    rounds: int
    meters: int | None = None
    cadence_s: float | None = None
    minutes: float | None = None
    hours: float | None = None


_Run = Callable[[_Sizes], Iterable[Result]]
_BENCHMARKS: dict[str, _Run] = {
    "wire": lambda _: wire.run(),
    "buffer": lambda asked: [buffer.append(commits=2_000, rounds=asked.rounds, home=asked.home)],
    "flash": lambda asked: buffer.flash(seconds=1_800, home=asked.home),
    "drain": lambda asked: drain.run(hours=asked.hours or 1, home=asked.home),
    "ingest": lambda asked: ingest.run(batches=100, rounds=asked.rounds, home=asked.home),
    "aggregate": lambda asked: aggregate.run(minutes=15, rounds=asked.rounds, home=asked.home),
    "million": lambda asked: million.run(
        meters=asked.meters or 100_000, cadence_s=asked.cadence_s or 10, minutes=asked.minutes or 1.5, home=asked.home
    ),
    "scale": lambda asked: scale.run(up_to=asked.meters or 100_000, batches=60, home=asked.home),
    "queries": lambda asked: queries.run(
        meters=asked.meters or 100_000, cadence_s=asked.cadence_s or 3600, home=asked.home
    ),
    "alerts": lambda asked: alerts.run(meters=asked.meters or 20_000, home=asked.home),
    # Fifteen kinds, one of each.
    "incidents": lambda asked: incidents.run(
        meters=asked.meters or 45, one_in=5 if asked.meters else 3, home=asked.home
    ),
    "billing": lambda asked: billing.run(meters=asked.meters or 1_000, rounds=asked.rounds, home=asked.home),
    "api": lambda asked: api.run(seconds=4, rounds=asked.rounds, home=asked.home),
    "mqtt": lambda asked: [mqtt.run(messages=50_000, rounds=asked.rounds, home=asked.home)],
    "login": lambda asked: login.run(logins=40, rounds=asked.rounds, home=asked.home),
    "requests": lambda asked: requests.run(seconds=2.5, rounds=asked.rounds, home=asked.home),
    "polling": lambda asked: polling.punctuality(seconds=25, home=asked.home),
    "thingsboard": lambda asked: [polling.against_thingsboard(seconds=10, rounds=asked.rounds, home=asked.home)],
    "line": lambda asked: [line.run(seconds=30, home=asked.home)],
}


def main(
    name: Annotated[str, typer.Argument(help=f"all, or one of {', '.join(_BENCHMARKS)}.")] = "all",
    rounds: Annotated[int, typer.Option(help="Rounds, ours and the peer's in turn, where they take turns.")] = 3,
    meters: Annotated[
        int | None, typer.Option(help="Meters of million, queries, alerts, incidents, billing and, at most, of scale.")
    ] = None,
    cadence_s: Annotated[float | None, typer.Option(help="Seconds between readings, of million and queries.")] = None,
    minutes: Annotated[float | None, typer.Option(help="How long million lasts.")] = None,
    hours: Annotated[float | None, typer.Option(help="How long the gateway of drain was offline.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines, as is done anyway.")] = True,
) -> None:
    """Run benchmarks on servers and meters of their own: all of them, for many minutes, unless one is named."""
    # Whoever ends it, its servers end with it, and its folder goes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = _BENCHMARKS if name == "all" else {name: _BENCHMARKS.get(name, partial(_unknown, name))}
    asked = _Sizes(home=segs_home(), rounds=rounds, meters=meters, cadence_s=cadence_s, minutes=minutes, hours=hours)
    passed = True
    for run in chosen.values():
        for result in run(asked):
            print(result, flush=True)
            passed = passed and result.passed
    sys.exit(0 if passed else 1)


def _unknown(name: str, _: _Sizes) -> list[Result]:
    raise typer.BadParameter(f"there is no benchmark {name!r}; there are {', '.join(_BENCHMARKS)}")


if __name__ == "__main__":
    typer.run(main)
