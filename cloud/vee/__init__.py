"""What operators do about validation, estimates and edits of intervals."""
