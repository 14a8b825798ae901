"""What processes and their children take of processor and memory, as the kernel counts it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Usage:
    """Of a process and all below it. `look` has to be called now and then: what ended in between is counted to the last
    look.
    """

    pid: int
    _cpu_s: dict[int, float] = field(default_factory=dict)
    _before_s: float = 0.0
    most_bytes: int = 0
    """Private memory of the process that had most; what is shared, as PostgreSQL's cache is, is not counted."""

    def look(self) -> None:
        for pid in [self.pid, *_below(self.pid)]:
            try:
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            self._cpu_s[pid] = (int(stat[11]) + int(stat[12])) / _TICKS_PER_S
            private = status.partition("RssAnon:")[2].split(maxsplit=1)
            if private:
                self.most_bytes = max(self.most_bytes, int(private[0]) * 1024)

    def reset(self) -> None:
        """Count processor time from now on."""
        self.look()
        self._before_s = sum(self._cpu_s.values())

    @property
    def cpu_s(self) -> float:
        return sum(self._cpu_s.values()) - self._before_s


def _below(pid: int) -> Iterable[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from _below(child)
