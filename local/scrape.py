"""Reads a service's metrics over loopback."""

import http.client
import urllib.request
from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

# A proxy of the environment, which a machine may need to fetch its servers, does not lead back to this machine.
_OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def totals(port: int) -> defaultdict[str, float]:
    """Every metric on 127.0.0.1:`port`, summed over its labels; zeros while nobody answers."""
    found: defaultdict[str, float] = defaultdict(float)
    try:
        with _OPEN(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            text = answer.read().decode()
    except (http.client.HTTPException, OSError):
        return found
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] += sample.value
    return found


def ready(port: int) -> bool:
    """Whether the service on 127.0.0.1:`port` says that it is ready."""
    try:
        with _OPEN(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (http.client.HTTPException, OSError):
        return False
