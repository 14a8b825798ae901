"""Intervals from cumulative reads that come as a file."""
