"""What the API counts, for Prometheus. Labels are names from the code, never what somebody sent."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram
from psycopg import OperationalError
from psycopg.errors import QueryCanceled
from psycopg_pool import PoolTimeout, TooManyRequests

from cloud.db.lane import Away

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REQUESTS = Counter(
    "segs_api_requests", "Requests by route template, method and class of status", ["route", "method", "status"]
)
SECONDS = Histogram(
    "segs_api_seconds",
    "From the request's headers to the end of its answer, seconds",
    ["route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
IN_FLIGHT = Gauge("segs_api_in_flight", "Requests that are being answered now")
POOL_WAIT = Histogram(
    "segs_api_pool_wait_seconds",
    "How long a request waited for a connection to a database, seconds",
    ["database"],
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 1, 2, 4),
)
QUESTIONS = Histogram(
    "segs_api_question_seconds",
    "From a question that screens ask all the time to the database's answer, the wait for others before it included,"
    " seconds",
    ["database"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 2.5, 5, 10),
)
LATEST = Counter(
    "segs_api_latest",
    "Questions for newest values by where the answer comes from: memory, telemetry (who may read it was remembered),"
    " both (databases)",
    ["source"],
)
FROM_MEMORY, FROM_TELEMETRY, FROM_BOTH = (LATEST.labels(source) for source in ("memory", "telemetry", "both"))
DATABASE_FAILURES = Counter(
    "segs_api_database_failures",
    "Transactions that ended because of the database: full (too many wait for a connection), away (there is none in"
    " time), slow (a statement took too long), failed (lost in the middle)",
    ["database", "why"],
)

for _database in ("domain", "telemetry"):
    POOL_WAIT.labels(_database)
    QUESTIONS.labels(_database)
    for _why in ("full", "away", "slow", "failed"):
        DATABASE_FAILURES.labels(_database, _why)


@contextmanager
def failures(database: str) -> Iterator[None]:
    """Counts a failure of the database within it, which it raises."""
    try:
        yield
    except OperationalError as error:
        DATABASE_FAILURES.labels(database, _reason(error)).inc()
        raise


def _reason(error: OperationalError) -> str:
    if isinstance(error, TooManyRequests):
        return "full"
    if isinstance(error, PoolTimeout | Away):
        return "away"
    return "slow" if isinstance(error, QueryCanceled) else "failed"
