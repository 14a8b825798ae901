"""Gateways, their keys and devices: the domain database leads, the telemetry database has a copy to read."""
