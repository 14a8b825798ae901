"""The rows of a component: their values read from a document, from arrays of meters or from arrays of phases."""

from collections.abc import Mapping

from edge.profiles.payload.number import LIMIT
from edge.profiles.payload.path import Steps, at
from edge.profiles.payload.row import Row, add, zero
from edge.profiles.payload.said import Channels
from edge.profiles.payload.schema import Component
from edge.profiles.payload.settings import MAX_CHANNELS

# What several meters of one device have in common; of anything else a single number is one of theirs, or their sum.
_SHARED = frozenset({"voltage_l1_v", "voltage_l2_v", "voltage_l3_v", "frequency_hz"})

_OF_ALL = frozenset({"power_factor", "apparent_power_va", "reactive_power_var"})

_PRODUCING = frozenset({"producing", "produce"})


class Rows:
    """The rows of one component."""

    def __init__(self, component: Component) -> None:
        self._rows = tuple(Row(row) for row in component.fields)
        self._meters_by, self._phases_by = component.meters_by, component.phases_by
        self._valid = component.valid
        self._seen: set[tuple[int | None, Steps]] = set()
        self._quick = tuple(
            (row.quantity, row.key, row.factor, row.invalid, str(row.guard[0]) if row.guard else None, row)
            for row in self._rows
        )
        # For each suffix set: the fields whose names carry its later suffixes, by the name that they belong to.
        paths = {*(row.key for row in self._rows if row.key is not None), *component.meters_by}
        self._suffixed = {
            path: [tuple(path + suffix for suffix in suffixes) for suffixes in component.suffixes]
            for path in sorted(paths)
        }
        endings = {suffix for suffixes in component.suffixes for suffix in suffixes} | {""}
        self._reversed_by = tuple(
            (direction + ending, path + ending)
            for path, direction in component.reversed_by.items()
            for ending in sorted(endings)
        )
        # Phase by phase these say nothing of all of them; what does is a field of its own.
        self._of_all = tuple(row.key for row in self._rows if row.key and row.quantity in _OF_ALL)
        keys = {str(path[0]) for row in self._rows for path in row.paths}
        self._suffix_keys = frozenset(
            name for path, sets in self._suffixed.items() for names in sets for name in names if name != path
        )
        self._keys = self._suffix_keys | keys

    def names_any(self, content: Mapping[str, object]) -> bool:
        """Whether `content` has one of the fields, if only to say that it has no value."""
        return not self._keys.isdisjoint(content)

    def read(self, content: Mapping[str, object], channels: Channels, channel: int | None, skipped: list[str]) -> bool:
        """Add what `content` holds to `channels`, as `channel` or, of several meters in it, as those from 1 on.

        What is there already stays. False when `content` says of itself that it is not valid.
        """
        if self._valid is not None and content.get(self._valid) is False:
            return False
        totals: Mapping[str, object] = {}
        if self._reversed_by:
            content = self._signed(content)
        if self._suffix_keys and not self._suffix_keys.isdisjoint(content):
            content, totals = self._gathered(content)
        found = dict(channels.get(channel, ()))
        reported = len(skipped)
        get = content.get
        for quantity, key, factor, invalid, guard, row in self._quick:
            if quantity in found:
                if row.rival is not None:
                    self._rivalled(row, content, channel)
                continue
            if key is not None:
                written = get(key)
                if written is None:
                    continue
                kind = type(written)
                if kind is float or kind is int:
                    measured_by = 1 if guard is None else get(guard)
                    if measured_by == 0:
                        continue
                    # What is huge, or guarded by a string, takes the long way.
                    if type(measured_by) is not str and -LIMIT < written < LIMIT:  # type: ignore[operator] # a number
                        value = written * factor  # type: ignore[operator]
                        if value not in invalid:
                            found[quantity] = value
                        continue
                parts = [written]
            else:
                if row.rival is not None and self._rivalled(row, content, channel):
                    continue
                parts = [at(content, path) for path in row.paths]
            if list in map(type, parts):
                del skipped[reported:]
                self._arrays(content, totals, channels, channel, skipped)
                return True
            add(row, parts, {} if row.guard is None else {row.guard: at(content, row.guard)}, found, skipped)
        if found:
            channels[channel] = found
        return True

    def _rivalled(self, row: Row, content: Mapping[str, object], channel: int | None) -> bool:
        """Whether the field that the row yields to is there, or was before."""
        assert row.rival is not None
        if at(content, row.rival) is not None:
            self._seen.add((channel, row.rival))
        return (channel, row.rival) in self._seen

    def _signed(self, content: Mapping[str, object]) -> Mapping[str, object]:
        """`content` with what a field beside it calls produced as a negative number, which it may be already."""
        produced = [
            name
            for direction, name in self._reversed_by
            if str(content.get(direction)).lower() in _PRODUCING and type(content.get(name)) in (int, float)
        ]
        return {**content, **{name: -abs(content[name]) for name in produced}} if produced else content  # type: ignore[arg-type] # numbers, as chosen

    def _gathered(self, content: Mapping[str, object]) -> tuple[Mapping[str, object], dict[str, object]]:
        """`content` with fields of one name and several suffixes as one array, and what the bare names said besides."""
        merged, totals = dict(content), {}
        first_is_bare = False
        for path, sets in self._suffixed.items():
            # A set counts if one of its suffixed fields is there; of several, the one whose first field is there.
            told = [names for names in sets if any(name in content for name in names if name != path)]
            if not told:
                continue
            names = next((names for names in told if names[0] in content), told[0])
            last = max(place for place, name in enumerate(names) if name in content)
            merged[path] = [content.get(name) for name in names[: last + 1]]
            first_is_bare = first_is_bare or names[0] == path
            if names[0] != path and content.get(path) is not None:
                totals[path] = content[path]
        if first_is_bare:
            # A bare name is the first phase's here, whether or not the others' are there as well.
            for path in self._of_all:
                if path in merged and not isinstance(merged[path], list):
                    del merged[path]
        return merged, totals

    def _arrays(
        self,
        content: Mapping[str, object],
        totals: Mapping[str, object],
        channels: Channels,
        channel: int | None,
        skipped: list[str],
    ) -> None:
        columns: dict[Steps, object] = {}
        for path in {path for row in self._rows for path in (*row.paths, *((row.guard,) if row.guard else ()))}:
            value = at(content, path)
            if isinstance(value, list):
                value = self._column(value, ".".join(map(str, path)), skipped)
            columns[path] = value
        deciding = [totals.get(path, columns.get((path,), content.get(path))) for path in self._meters_by]
        arrays = _lists(columns)
        if any(isinstance(value, list) for value in deciding) or not self._meters_by:
            self._meters(columns, channels, channel, skipped)
            return
        if arrays and all(value is None for value in deciding):
            names = " or ".join(self._meters_by)
            skipped.append(f"{arrays[0]}: an array, and no {names} to say whether of meters or of phases")
            columns = {path: None if isinstance(value, list) else value for path, value in columns.items()}
        found = dict(channels.get(channel, ()))
        self._phases(columns, totals, found, skipped)
        if found:
            channels[channel] = found

    def _column(self, value: list[object], name: str, skipped: list[str]) -> object:
        if len(value) > MAX_CHANNELS:
            skipped.append(f"{name}: an array of {len(value)} is no list of meters")
            return None
        return value[0] if len(value) == 1 else value or None

    def _meters(
        self, columns: dict[Steps, object], channels: Channels, channel: int | None, skipped: list[str]
    ) -> None:
        count = max((len(value) for value in columns.values() if isinstance(value, list)), default=1)
        rows = []
        for row in self._rows:
            alone = not all(isinstance(columns[path], list) for path in row.paths)
            if count == 1 or not alone or row.quantity in _SHARED:
                rows.append(row)
            elif any(columns[path] is not None for path in row.paths):
                skipped.append(f"{row.name}: one number for {count} meters")
        for index in range(count):
            entries = {path: _entry(value, index) for path, value in columns.items()}
            meter = index + 1 if count > 1 else channel
            found = dict(channels.get(meter, ()))
            for row in rows:
                if row.quantity in found:
                    continue
                written = entries[row.paths[0]]
                if written is None:
                    continue
                kind, guard = type(written), 1 if row.guard is None else entries[row.guard]
                if guard == 0:
                    continue
                if row.key is None or (kind is not float and kind is not int) or type(guard) is str:
                    add(row, [entries[path] for path in row.paths], entries, found, skipped)
                elif -LIMIT < written < LIMIT:  # type: ignore[operator] # a number
                    value = written * row.factor  # type: ignore[operator]
                    if value not in row.invalid:
                        found[row.quantity] = value
                else:
                    add(row, [written], entries, found, skipped)
            if found:
                channels[meter] = found

    def _phases(
        self,
        columns: dict[Steps, object],
        totals: Mapping[str, object],
        found: dict[str, float],
        skipped: list[str],
    ) -> None:
        named = self._phases_by is None or isinstance(columns.get((self._phases_by,)), list)
        for row in self._rows:
            column = columns[row.paths[0]]
            if row.key is not None and row.key in totals and row.quantity not in row.phases:
                add(row, [totals[row.key]], {}, found, skipped)
            if not isinstance(column, list):
                parts = [columns[path] for path in row.paths]
                if not any(isinstance(part, list) for part in parts):
                    guards = {path: _first(value) for path, value in columns.items()}
                    add(row, parts, guards, found, skipped)
                continue
            if len(column) > 3:
                skipped.append(f"{row.name}: an array of {len(column)}, where 3 phases would be the most")
                continue
            values: list[float | None] = []
            for index, written in enumerate(column):
                entry: dict[str, float] = {}
                guards = {path: _entry(value, index) for path, value in columns.items()}
                if not (row.guard is not None and zero(guards[row.guard])):
                    add(row, [written], guards, entry, skipped)
                values.append(entry.get(row.quantity))
            if row.phases and (named or len(column) == 3):
                for name, value in zip(row.phases, values, strict=False):
                    if value is not None:
                        found.setdefault(name, value)
            known = [value for value in values if value is not None]
            if row.total == "first" and known:
                found.setdefault(row.quantity, known[0])
            elif row.total == "sum" and known and len(known) == len(values) - _unpowered(row, columns, len(column)):
                found.setdefault(row.quantity, sum(known))


def _unpowered(row: Row, columns: dict[Steps, object], count: int) -> int:
    """How many of `count` phases are without voltage, as the row's guard shows: they add nothing to a sum."""
    if row.guard is None:
        return 0
    return sum(zero(_entry(columns[row.guard], index)) for index in range(count))


def _entry(value: object, index: int) -> object:
    if isinstance(value, list):
        return value[index] if index < len(value) else None
    return value


def _first(value: object) -> object:
    return next((entry for entry in value if entry is not None), None) if isinstance(value, list) else value


def _lists(columns: Mapping[Steps, object]) -> list[str]:
    return [".".join(map(str, path)) for path, value in columns.items() if isinstance(value, list)]
