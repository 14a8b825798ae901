"""Why nothing was seeded."""


class SeedingError(Exception):
    """What is in the way, and what to do."""
