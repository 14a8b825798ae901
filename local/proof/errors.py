"""Why a proof could not be made at all; what it finds is in its report, not here."""


class ProofError(Exception):
    """The comparison is impossible: where, what was found, what to do."""

    def __init__(self, *, where: str, found: str, todo: str) -> None:
        super().__init__(f"{where}: {found}; {todo}")
        self.where, self.found, self.todo = where, found, todo
