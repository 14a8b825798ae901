"""Drivers turn bytes into readings and hand them to a sink; they know nothing of buffers and clouds."""
