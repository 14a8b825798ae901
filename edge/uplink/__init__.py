"""Batches to the receiver: newest readings first, the backlog beside them, and nothing forgotten before it is sure."""
