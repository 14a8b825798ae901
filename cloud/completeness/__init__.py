"""Completeness: every missing batch and every missing reading, with its reason."""
