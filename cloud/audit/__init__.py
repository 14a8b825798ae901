"""The audit log: what is in it, and whether it is still what was written."""
