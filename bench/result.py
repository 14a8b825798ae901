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
    def limit(cls, name: str, unit: str, figure: float, *, at_most: float) -> "Result":
        """A figure against a fixed limit: the ratio is the part of the limit that is used."""
        return cls(name=name, unit=unit, figures=[figure], peer="limit", peer_figures=[at_most], at_most=1.0)

    @property
    def ratio(self) -> float:
        """Median of the ratios of each round: steadier than the ratio of the medians when the machine drifts."""
        return median(ours / theirs for ours, theirs in zip(self.figures, self.peer_figures, strict=True))

    @property
    def passed(self) -> bool:
        enough = self.at_least is None or self.ratio >= self.at_least
        return enough and (self.at_most is None or self.ratio <= self.at_most)

    def __str__(self) -> str:
        said = {
            "benchmark": self.name,
            "unit": self.unit,
            "figure": _short(median(self.figures)),
            "peer": self.peer,
            "peer_figure": _short(median(self.peer_figures)),
            "ratio": round(self.ratio, 3),
            "at_least": self.at_least,
            "at_most": self.at_most,
            "rounds": len(self.figures),
            "edition": self.edition,
            "passed": self.passed,
        }
        return json.dumps({key: value for key, value in said.items() if value is not None})


def _short(figure: float) -> float:
    return round(figure) if abs(figure) >= 1000 else float(f"{figure:.3g}")
