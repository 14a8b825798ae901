"""Reads a service's metrics over loopback."""

import urllib.error
import urllib.request
from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families


def totals(port: int) -> defaultdict[str, float]:
    """Every metric on 127.0.0.1:`port`, summed over its labels; zeros while nobody answers."""
    found: defaultdict[str, float] = defaultdict(float)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, OSError):
        return found
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] += sample.value
    return found
