"""The root of what the cloud refuses or cannot do; everything else is a bug and ends in a traceback."""


class CloudError(Exception):
    """The message says what was found and what to do; the leaves have fields."""
