"""What the log says of a fault: its kind and its place, and nothing that somebody sent or that a row holds."""

import re
import traceback

import psycopg

from cloud.errors import CloudError

_EMAIL = re.compile(r"\S+@\S+")
_FRAMES = 15


def described(error: BaseException) -> dict[str, object]:
    """Fields of a line of the log. Messages of others may quote values, and are left out: DETAIL of a database names
    them, a model's error repeats them, and a frame's variables have passwords."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    said: dict[str, object] = {
        "error": f"{type(error).__module__}.{type(error).__qualname__}",
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(error, psycopg.Error):
        said |= {"sqlstate": error.sqlstate, "said": _EMAIL.sub("…", error.diag.message_primary or "")}
    elif isinstance(error, CloudError):
        said["said"] = _EMAIL.sub("…", str(error))
    if isinstance(error, BaseExceptionGroup):
        said["group"] = [described(each) for each in error.exceptions[:3]]
    if error.__cause__ is not None:
        said["because_of"] = f"{type(error.__cause__).__module__}.{type(error.__cause__).__qualname__}"
    return said
