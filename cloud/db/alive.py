"""How connections notice that the other side is gone."""

from typing import Any

ALIVE: dict[str, Any] = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""Of libpq: a host that is gone is noticed within a minute, instead of the system's two hours."""
