"""`python -m tests.torture`: faults by the hundred over the real stack, and then the books."""

import argparse
import json
import signal
import sys
import time

from cloud.schema.errors import SchemaError
from local.servers import ServerError
from local.service import ServiceError
from tests.torture.faults.table import KINDS
from tests.torture.run import torture


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--faults", type=int, default=100, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="which schedule")
    parser.add_argument("--without", action="append", default=[], choices=sorted(KINDS), help="leave this kind out")
    parser.add_argument("--only", action="append", default=[], choices=sorted(KINDS), help="this kind and no other")
    parser.add_argument("--gap", type=float, default=None, help="seconds between two faults, on average")
    parser.add_argument("--keep", action="store_true", help="keep the folder though the books are right")
    asked = parser.parse_args()
    without = {*asked.without, *(name for name in KINDS if asked.only and name not in asked.only)}
    # Whoever ends it, everything that it started ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    try:
        outcome = torture(
            faults=asked.faults, seed=asked.seed, say=_say, keep=asked.keep, without=without, gap_s=asked.gap
        )
    except (ServerError, SchemaError, ServiceError) as error:
        print(f"torture: {error}", file=sys.stderr)
        print(
            json.dumps(
                {
                    "seed": asked.seed,
                    "seconds": round(time.monotonic() - began, 1),
                    "failed": str(error).splitlines()[0],
                }
            )
        )
        return 1
    except KeyboardInterrupt:
        print("torture: interrupted", file=sys.stderr)
        return 130
    print(json.dumps(outcome.as_dict()), flush=True)
    return 0 if outcome.clean else 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
