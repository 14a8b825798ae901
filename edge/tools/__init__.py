"""What a field engineer does by hand: one tool a module, each with its `command`. The daemon imports none of it."""
