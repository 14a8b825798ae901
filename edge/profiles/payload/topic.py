"""Topic patterns: MQTT filters with names. `{device}` and `+` are one level, `#` any number, none included."""

import re

_NAME = re.compile(r"\{([a-z]+)\}")
_KINDS = {"channel": "[0-9]{1,3}"}


def compiled(pattern: str) -> re.Pattern[str]:
    """`pattern` as an expression whose groups are its names. Raises ValueError."""
    levels = pattern.split("/")
    if "" in levels:
        raise ValueError(f"{pattern!r} has an empty level")
    if levels.count("#") > 2:
        raise ValueError(f"{pattern!r} has # more than twice")
    if levels == ["#"]:
        return re.compile("(?s:.*)")
    expression = ""
    separated = True
    for position, level in enumerate(levels):
        if level == "#":
            # Between levels it brings the slash before it along, at the start the one behind.
            expression += "(?:[^/]*/)*" if position == 0 else "(?:/[^/]*)*"
            separated = position == 0
            continue
        expression += "" if separated else "/"
        expression += _level(level, pattern)
        separated = False
    return re.compile(expression)


def _level(level: str, pattern: str) -> str:
    if level == "+":
        return "[^/]+"
    if "#" in level or "+" in level or _NAME.sub("", level).strip("{}") != _NAME.sub("", level):
        raise ValueError(f"{pattern!r}: {level!r} is no level; +, # and names in braces are wholes")
    parts = _NAME.split(level)
    # Text and names alternate: even parts are text.
    return "".join(
        re.escape(part) if place % 2 == 0 else f"(?P<{part}>{_KINDS.get(part, '[^/]+')})"
        for place, part in enumerate(parts)
    )
