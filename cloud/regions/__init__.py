"""Regions of the grid, as who runs the system sees them."""
