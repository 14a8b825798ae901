"""From an HTTP body to one transaction in the telemetry database."""
