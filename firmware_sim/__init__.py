"""Simulated meters: an independent implementation that shares no code with what it tests."""
