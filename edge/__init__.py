"""The gateway daemon: polls meters, keeps every reading in a local buffer, syncs batches to the cloud."""

import sys
from importlib.metadata import version

VERSION = version("segs")

# Both of these load rich, click and pygments where they find them, for terminals: 4 MB that a daemon would carry for
# nothing. httpx has a module for its own command; structlog asks at import.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
if "structlog" not in sys.modules and "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: F401

    del sys.modules["rich"]
