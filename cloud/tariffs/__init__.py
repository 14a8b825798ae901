"""Tariffs: documents that say what energy and power cost, and what they make of intervals."""
