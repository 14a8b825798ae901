"""What gateways say, made fit for a terminal."""


def printable(text: str) -> str:
    """`text` with what is no printable character escaped: nothing in it moves a cursor, colours or begins a line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
