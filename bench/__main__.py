"""`python -m bench [NAME]`: one JSON line for each figure; exit 1 when one misses what is asked for."""

import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bench import aggregate, buffer, drain, ingest, line, mqtt, polling, requests, wire
from bench.result import Result
from local.servers import segs_home

_Run = Callable[[int, Path], Iterable[Result]]
_BENCHMARKS: dict[str, _Run] = {
    "wire": lambda _rounds, _home: wire.run(),
    "buffer": lambda rounds, home: [buffer.append(commits=2_000, rounds=rounds, home=home)],
    "flash": lambda _rounds, home: buffer.flash(seconds=1_800, home=home),
    "drain": lambda _rounds, home: drain.run(hours=2, home=home),
    "ingest": lambda rounds, home: ingest.run(batches=200, rounds=rounds, home=home),
    "aggregate": lambda rounds, home: aggregate.run(minutes=15, rounds=rounds, home=home),
    "mqtt": lambda rounds, home: [mqtt.run(messages=100_000, rounds=rounds, home=home)],
    "requests": lambda rounds, home: requests.run(seconds=5, rounds=rounds, home=home),
    "polling": lambda rounds, home: polling.punctuality(seconds=60, home=home),
    "thingsboard": lambda rounds, home: [polling.against_thingsboard(seconds=20, rounds=rounds, home=home)],
    "line": lambda rounds, home: [line.run(seconds=60, home=home)],
}


def main(
    name: Annotated[str, typer.Argument(help=f"all, or one of {', '.join(_BENCHMARKS)}.")] = "all",
    rounds: Annotated[int, typer.Option(help="Rounds, ours and the peer's in turn, where they take turns.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines, as is done anyway.")] = True,
) -> None:
    """Run benchmarks on servers and meters of their own."""
    chosen = _BENCHMARKS if name == "all" else {name: _BENCHMARKS.get(name, partial(_unknown, name))}
    passed = True
    for run in chosen.values():
        for result in run(rounds, segs_home()):
            print(result, flush=True)
            passed = passed and result.passed
    sys.exit(0 if passed else 1)


def _unknown(name: str, _rounds: int, _home: Path) -> list[Result]:
    raise typer.BadParameter(f"there is no benchmark {name!r}; there are {', '.join(_BENCHMARKS)}")


if __name__ == "__main__":
    typer.run(main)
