"""Paths into a JSON document: `a.b`, `a["quoted key"].b`, `a[0].b`, and `a[*].b` for one entry a meter."""

import re
from typing import TypeAlias

Step: TypeAlias = str | int
Steps: TypeAlias = tuple[Step, ...]
EACH = -1
"""The step that stands for every entry of an array."""

_STEP = re.compile(r'\.?([^.\[\]"\s][^.\[\]"]*)|\[(\d{1,4})\]|\[(\*)\]|\["((?:[^"\\]|\\.)+)"\]')


def steps(path: str) -> Steps:
    """`path`, with or without a leading `$`, as its steps. Raises ValueError saying where it goes wrong."""
    found: list[Step] = []
    position = 1 if path.startswith("$") else 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None or (found and match[1] is not None and path[position] != "."):
            raise ValueError(
                f"{path!r} is no path from its character {position + 1} on; "
                'keys are joined by dots, ["quoted"] where they hold other signs, [0] is an entry, [*] every entry'
            )
        key, index, each, quoted = match.groups()
        if key is not None:
            found.append(key)
        elif index is not None:
            found.append(int(index))
        elif each is not None:
            found.append(EACH)
        else:
            found.append(re.sub(r"\\(.)", r"\1", quoted))
        position = match.end()
    if not found:
        raise ValueError("an empty path; name at least one key")
    if found.count(EACH) > 1:
        raise ValueError(f"{path!r} has [*] more than once; one array lists the meters")
    return tuple(found)


def at(document: object, path: Steps) -> object:
    """What stands at `path`; None where nothing does. With `[*]` in it, the list of what stands there in each entry."""
    value = document
    for place, step in enumerate(path):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            if step == EACH:
                return [at(entry, path[place + 1 :]) for entry in value]
            value = value[step] if step < len(value) else None
        else:
            return None
    return value
