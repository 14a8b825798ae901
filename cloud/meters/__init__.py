"""Meters: where they are."""
