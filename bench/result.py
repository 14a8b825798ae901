"""What a benchmark prints: one JSON line."""

import json
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Result:
    """`figure` of ours and of the `peer`, in `unit`, medians over rounds that took turns in one run.

    `at_least` is the ratio that is asked for, None where none is.
    """

    name: str
    unit: str
    figures: list[float]
    peer: str
    peer_figures: list[float]
    at_least: float | None
    edition: str

    @property
    def ratio(self) -> float:
        """Median of the ratios of each round: steadier than the ratio of the medians when the machine drifts."""
        return median(ours / theirs for ours, theirs in zip(self.figures, self.peer_figures, strict=True))

    @property
    def passed(self) -> bool:
        return self.at_least is None or self.ratio >= self.at_least

    def __str__(self) -> str:
        return json.dumps(
            {
                "benchmark": self.name,
                "unit": self.unit,
                "figure": round(median(self.figures)),
                "peer": self.peer,
                "peer_figure": round(median(self.peer_figures)),
                "ratio": round(self.ratio, 3),
                "at_least": self.at_least,
                "rounds": len(self.figures),
                "edition": self.edition,
                "passed": self.passed,
            }
        )
