"""What the API counts, for Prometheus. Labels are names from the code, never what somebody sent."""

from prometheus_client import Counter, Gauge, Histogram

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
DATABASE_FAILURES = Counter(
    "segs_api_database_failures",
    "Transactions that ended because of the database: full (too many wait for a connection), away (there is none in"
    " time), slow (a statement took too long), failed (lost in the middle)",
    ["database", "why"],
)

for _database in ("domain", "telemetry"):
    POOL_WAIT.labels(_database)
    for _why in ("full", "away", "slow", "failed"):
        DATABASE_FAILURES.labels(_database, _why)
