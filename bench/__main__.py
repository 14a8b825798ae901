"""`python -m bench [NAME]`: one JSON line for each benchmark; exit 1 when a ratio misses what is asked for."""

import sys
from typing import Annotated

import typer

from bench import ingest
from local.servers import segs_home


def main(
    name: Annotated[str, typer.Argument(help="ingest, or all.")] = "all",
    batches: Annotated[int, typer.Option(help="Batches of 5,000 readings in a round.")] = 200,
    rounds: Annotated[int, typer.Option(help="Rounds, ours and the peer's in turn.")] = 3,
) -> None:
    """Run benchmarks on servers of their own."""
    if name not in ("all", "ingest"):
        raise typer.BadParameter(f"there is no benchmark {name!r}; there is: ingest")
    result = ingest.run(batches=batches, rounds=rounds, home=segs_home())
    print(result)
    sys.exit(0 if result.passed else 1)


if __name__ == "__main__":
    typer.run(main)
