"""Alerts, as who runs the system sees them."""
