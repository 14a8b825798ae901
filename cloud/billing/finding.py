"""What could not be billed, and why."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from cloud.instant import written

_TEXTS = {
    "not_over": "the month is not over, or may still get late readings; bill it later",
    "no_place": "it is nowhere; segs-cloud meter move says where it is",
    "no_owner": "it is nobody's; segs-cloud meter give --from {since} gives it to its customer",
    "no_tariff": "it has no tariff; segs-cloud tariff assign --from {since} gives it one",
    "tariff_zone": "its tariff has days of another zone than the meter; assign one of its own",
    "no_prices": "its tariff has no price then; segs-cloud tariff prices gives it some, tariff regional its region",
    "no_generation": "its tariff takes what is generated; segs-cloud meter generation names the meter that tells it",
    "generation": "what was generated is not known, or less than what went out; look at both meters' intervals",
    "overlaps": "part of it is billed already; a credit note takes that bill back",
    "credited": "its intervals changed, and part of it is credited; credit the rest too, so that it is billed anew",
    "missing": "quarter-hours are missing; wait for them, or estimate or edit them",
    "failed": "quarter-hours failed their checks; segs-cloud vee edits them",
    "unfinished": "readings are still being worked on; bill it in a minute",
    "broken": "intervals could not be computed; see failed_marks, and the log of the worker",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """`reason` is for programs, the text for people; `since` and `until` say where, half-open."""

    reason: str
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""

    def __str__(self) -> str:
        where = "" if self.since is None or self.until is None else f" {written(self.since)} to {written(self.until)}:"
        return f"{self.reason}:{where} {self._said()}"

    def _said(self) -> str:
        # What is given without a time holds from now on, and the span stays as it is.
        return self.text or _TEXTS[self.reason].format(since="START" if self.since is None else written(self.since))

    def of(self, bill: str) -> "Finding":
        """The same, of a final bill that was looked at again."""
        return replace(self, text=f"{bill} stays as it is: {self._said()}")

    def document(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        return {
            "reason": found["reason"],
            "from": self.since and written(self.since),
            "to": self.until and written(self.until),
            "text": self._said(),
        }
