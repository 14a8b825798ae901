"""The cloud: receives batches, stores readings, computes intervals, keeps both schemas."""
