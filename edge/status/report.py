"""The report to the receiver, made of what the status says."""

from contract.report import BacklogReport, Report
from edge.status.running import Running

# As many lines as a person reads; what is behind them is at the gateway.
_TROUBLES, _TROUBLE_CHARS = 50, 300


def report(running: Running, *, boot_id: str, stream: str, next_seq: int, loss_window_s: float) -> Report:
    """`running` as the receiver takes it; `stream` is empty, and `next_seq` 0, before the buffer is open."""
    troubles = running.troubles()
    more = len(troubles) - _TROUBLES
    return Report(
        software=f"segs-edge {running.version}",
        boot_id=boot_id,
        started_us=running.started_us,
        sent_us=running.written_us,
        stream=stream,
        next_seq=next_seq,
        loss_window_s=loss_window_s,
        backlog=running.backlog or BacklogReport(),
        buffer=running.disk,
        clock=running.clock,
        given_up=running.given_up,
        lost_notes=running.lost_notes,
        last_receipt_us=running.uplink.last_receipt_us,
        meters=len(running.devices),
        silent_meters=running.silent_meters,
        rejected_messages=sum(broker.rejected for broker in running.brokers),
        troubles=[line[:_TROUBLE_CHARS] for line in troubles[:_TROUBLES]] + ([f"{more} more"] if more > 0 else []),
    )
