"""What a benchmark prints: one JSON line."""

import json
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """`figures` of ours and of the `peer`, in `unit`, over rounds that took turns in one run.

    `at_least` and `at_most` bound the ratio of ours to the peer's; None where none is asked for. `edition` is that of
    TimescaleDB, where a database took part.
    """

    name: str
    unit: str
    figures: list[float]
    peer: str
    peer_figures: list[float]
    at_least: float | None = None
    at_most: float | None = None
    edition: str | None = None

    @classmethod
    def limit(
        cls, name: str, unit: str, figure: float, *, at_most: float | None = None, at_least: float | None = None
    ) -> "Result":
        """A figure against a fixed limit, the one or the other; the ratio is the part of it that is used or reached."""
        bound = at_least if at_most is None else at_most
        if bound is None:
            raise ValueError(f"{name}: give a limit")
        return cls(
            name=name,
            unit=unit,
            figures=[figure],
            peer="limit",
            peer_figures=[bound],
            at_most=None if at_most is None else 1.0,
            at_least=None if at_least is None else 1.0,
        )

    @classmethod
    def told(cls, name: str, unit: str, figure: float) -> "Result":
        """A figure that explains another one."""
        return cls(name=name, unit=unit, figures=[figure], peer="", peer_figures=[])

    @property
    def ratio(self) -> float | None:
        """Median of the ratios of each round: steadier than the ratio of the medians when the machine drifts."""
        if not self.peer_figures:
            return None
        return median(ours / theirs for ours, theirs in zip(self.figures, self.peer_figures, strict=True))

    @property
    def passed(self) -> bool:
        ratio = self.ratio
        if ratio is None:
            return True
        enough = self.at_least is None or ratio >= self.at_least
        return enough and (self.at_most is None or ratio <= self.at_most)

    def __str__(self) -> str:
        said = {
            "benchmark": self.name,
            "unit": self.unit,
            "figure": _short(median(self.figures)),
            "peer": self.peer or None,
            "peer_figure": _short(median(self.peer_figures)) if self.peer_figures else None,
            "ratio": None if self.ratio is None else round(self.ratio, 3),
            "at_least": self.at_least,
            "at_most": self.at_most,
            "rounds": len(self.figures),
            "edition": self.edition,
            "passed": self.passed,
        }
        return json.dumps({key: value for key, value in said.items() if value is not None})


def _short(figure: float) -> float:
    return round(figure) if abs(figure) >= 1000 else float(f"{figure:.3g}")
