"""`make torture-api`: made-up requests to every operation for every role, by the thousand; see CONTRIBUTING.md.

What happens is on standard error, the last line, on standard output, is JSON. Exit status 1 for any 5xx, and any answer
that the description of the API does not know.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    # pytest rewrites what it imports itself, and warns of what it finds there already.
    from tests.integration.api.fuzz import Outcome

_TEST = Path(__file__).parent / "integration" / "api" / "test_fuzz.py"


@dataclass
class Wanted:
    """A plug-in that hands the run its size, and takes what it found."""

    cases: int
    seed: int
    outcome: Outcome | None = None

    def pytest_configure(self, config: pytest.Config) -> None:
        setattr(config, "fuzz", self)  # noqa: B010 - pytest's type has no such attribute


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture_api", description=__doc__)
    parser.add_argument("--cases", type=int, default=5000, help="about how many requests")
    parser.add_argument("--seed", type=int, default=1, help="the same requests for the same description of the API")
    arguments = parser.parse_args()
    wanted = Wanted(arguments.cases, arguments.seed)
    began = time.monotonic()
    with contextlib.redirect_stdout(sys.stderr):
        status = pytest.main(["-q", "--tb=short", "-p", "no:cacheprovider", str(_TEST)], plugins=[wanted])
    line: dict[str, object] = {"seed": wanted.seed, "seconds": round(time.monotonic() - began)}
    if (found := wanted.outcome) is not None:
        line |= {
            "operations": len(found.asked),
            "cases": found.cases,
            "statuses": {str(number): found.statuses[number] for number in sorted(found.statuses)},
            "failures": list(found.failures.values()),
        }
    else:
        line["failed"] = "the API did not start, or the run ended early; standard error says why"
    print(json.dumps(line))
    return 0 if status == 0 and found is not None else 1


if __name__ == "__main__":
    sys.exit(main())
