"""Starts again what ended, as systemd would."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from local.servers import ServerError
from local.service import ServiceError
from tests.torture.history import History, now_us
from tests.torture.parts import Part
from tests.torture.shim import Shim

_LOOK_S = 0.05
_RESTART_S = (0.1, 1.0)


class Supervisor:
    """Looks after `parts`, from `start` until `over` is set. `ended` counts what ended unasked.

    Where it fails itself, `broken` says why, and `over` is set.
    """

    def __init__(
        self,
        *,
        parts: Mapping[str, Part],
        shims: Mapping[str, Shim],
        history: History,
        over: threading.Event,
        chance: random.Random,
        say: Callable[[str], None],
    ) -> None:
        self.ended: Counter[str] = Counter()
        self.broken: BaseException | None = None
        self._parts, self._shims, self._history = parts, shims, history
        self._over, self._chance, self._say = over, chance, say
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._look_after_all()
        except BaseException as error:
            self.broken = error
            self._over.set()
            raise

    def _look_after_all(self) -> None:
        due_s: dict[str, float] = {}
        while not self._over.wait(_LOOK_S):
            for part in self._parts.values():
                # Who holds it is busy with it.
                if part.lock.acquire(blocking=False):
                    try:
                        self._look_after(part, due_s)
                    except (ServerError, ServiceError) as error:
                        self._say(f"{part.name} does not start: {error}")
                    finally:
                        part.lock.release()

    def _look_after(self, part: Part, due_s: dict[str, float]) -> None:
        """With the part's lock. It is started a short while after its end."""
        if part.down or part.pid is not None:
            due_s.pop(part.name, None)
        elif part.name not in due_s:
            self._notice_end(part)
            due_s[part.name] = time.monotonic() + self._chance.uniform(*_RESTART_S)
        elif time.monotonic() >= due_s[part.name]:
            part.start()
            self._history.began(part.name, part.started_us)

    def _notice_end(self, part: Part) -> None:
        seen_us = now_us()
        shim = self._shims.get(part.name)
        if shim is not None and shim.killed_us > part.started_us:
            self._history.died(part.name, shim.killed_us, seen_us)
            return
        self.ended[part.name] += 1
        self._say(f"{part.name} ended by itself:\n{part.tail()}")
