"""What the API asks of the telemetry database: typed rows of named statements."""
