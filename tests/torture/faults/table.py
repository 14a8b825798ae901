"""Every kind of fault, by name."""

from tests.torture.faults import clock, disk, kills, link
from tests.torture.faults.kind import Kind

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*kills.KINDS, *link.KINDS, *disk.KINDS, *clock.KINDS)}
