"""A unit as the profiles' logic sees it: registers, and a callable that reads them as a line does."""

from edge.errors import ModbusFault


class Unit:
    """Answers reads of functions 3 and 4 from `registers`, bytes by address; refuses what is not there.

    With `silent`, what is not there gets no answer at all.
    """

    def __init__(self, registers: dict[int, bytes], *, function: int | None = None, silent: bool = False) -> None:
        self.words = {
            address + index: data[2 * index : 2 * index + 2]
            for address, data in registers.items()
            for index in range(len(data) // 2)
        }
        self._function, self._silent = function, silent
        self.requests: list[tuple[int, int, int]] = []

    async def read(self, *, function: int, address: int, count: int) -> bytes:
        self.requests.append((function, address, count))
        words = [self.words.get(place) for place in range(address, address + count)]
        if None in words or not 1 <= count <= 125 or self._function not in (None, function):
            if self._silent:
                raise ModbusFault("no reply within 1 s", line_lost=False)
            raise ModbusFault("exception 2, illegal data address", line_lost=False, exception_code=2)
        return b"".join(word for word in words if word is not None)
