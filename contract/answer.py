"""What the receiver's answers say beside their bodies, in headers: so a repeated batch gets the same body again."""

CREDIT = "Segs-Credit"
"""How many batches of backlog the gateway may have under way at once, by now; 0 holds the backlog back, and no live
batch. On every answer to a batch or a report."""

TIME = "Segs-Time"
"""The receiver's clock when it answered, microseconds since 1970."""
