"""What the workers count, for Prometheus. Labels are names from the code, never data."""

from prometheus_client import Counter, Gauge

LAG_SECONDS = Gauge("segs_worker_lag_seconds", "How long the most overdue mark has waited since it was due", ["queue"])
MARKS = Counter("segs_worker_marks", "Marks worked off", ["queue"])
BUCKETS = Counter("segs_worker_buckets", "Rows computed", ["table"])
FAILED = Counter("segs_worker_failed_marks", "Marks whose computation failed and that were set aside", ["queue"])
ESTIMATES = Counter("segs_worker_estimates", "Estimates of quarter-hours made or ended")
FINDINGS = Counter("segs_worker_findings", "Findings of validation that are new or changed")
RECONCILED = Counter("segs_worker_reconciled_minutes", "Minutes compared with cagg_1m")
MISMATCHES = Counter("segs_worker_mismatches", "Minutes that differed from cagg_1m and were marked again")
DROPPED_CHUNKS = Counter("segs_worker_dropped_chunks", "Chunks dropped by retention")
CLEARED = Counter("segs_worker_cleared_rows", "Rows of the domain database that were over and were deleted", ["table"])
PRICES = Counter("segs_worker_price_changes", "Prices of regions that their load changed")
ALERTS = Counter("segs_worker_alerts", "Alerts, by what became of them", ["event"])
MESSAGES = Counter("segs_worker_messages", "Attempts to deliver messages, by how they ended", ["channel", "outcome"])
WAITING = Gauge("segs_worker_messages_waiting", "Messages that wait", ["channel"])
OLDEST_SECONDS = Gauge(
    "segs_worker_oldest_message_seconds", "How long the oldest message has waited since it was due", ["channel"]
)
RETRIES = Counter("segs_worker_retries", "Steps repeated after the database failed them", ["loop"])
FAILURES = Counter(
    "segs_worker_failures", "Steps that failed for another reason than a busy or absent database", ["loop"]
)

for _queue in ("minutes", "quarters", "regions", "intervals"):
    LAG_SECONDS.labels(_queue).set(0)
    MARKS.labels(_queue)
    FAILED.labels(_queue)
for _table in ("aggregates_1m", "aggregates_15m", "regional_15m"):
    BUCKETS.labels(_table)
CHANNELS = ("email", "sms", "push", "web", "webhook")
for _channel in CHANNELS:
    WAITING.labels(_channel).set(0)
    OLDEST_SECONDS.labels(_channel).set(0)
    for _outcome in ("delivered", "deferred", "dead"):
        MESSAGES.labels(_channel, _outcome)
