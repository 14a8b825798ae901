"""The demo's table on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from local.progress import Progress

_PLAIN_EVERY_S = 5.0


class Display:
    """Shows progress on standard output."""

    def __init__(self) -> None:
        self._console = Console()
        self._live: Live | None = None
        self._last_line_s = 0.0

    def say(self, text: str) -> None:
        """One line about what happens now."""
        if self._console.is_terminal:
            self._console.print(f"[dim]{text}[/]")
        else:
            print(text, flush=True)

    @contextmanager
    def live(self) -> Iterator[None]:
        """The table, redrawn by `show`; nothing where there is no terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, refresh_per_second=4) as self._live:
            yield
        self._live = None

    def show(self, progress: Progress) -> None:
        """The state now."""
        if self._live is not None:
            self._live.update(Group(_table(progress), Text(_line(progress))))
        elif progress.elapsed_s - self._last_line_s >= _PLAIN_EVERY_S:
            self._last_line_s = progress.elapsed_s
            print(_line(progress), flush=True)


def _line(progress: Progress) -> str:
    lag = "-" if progress.lag_s is None else f"{progress.lag_s:.1f} s"
    # Polls that a busy line left out: a demo has none on a machine that keeps up.
    left_out = f"left out {progress.left_out}  " if progress.left_out else ""
    return (
        f"{progress.elapsed_s:6.1f} s  {progress.meters} meters  {progress.power_w / 1000:.1f} kW  "
        f"polled {progress.polled}  {left_out}buffered {progress.buffered}  synced {progress.synced}  "
        f"stored {progress.stored}  lag {lag}  minutes {progress.aggregates_1m_rows}"
    )


def _table(progress: Progress) -> Table:
    table = Table("meter", "region", title="SEGS", title_justify="left")
    for heading in ("power W", "register Wh", "minute mean W", "minute Wh"):
        table.add_column(heading, justify="right")
    for line in progress.lines:
        table.add_row(
            line.device,
            line.region,
            _number(line.power_w),
            _number(line.energy_import_wh),
            _number(line.minute_mean_w),
            _number(line.minute_wh),
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
