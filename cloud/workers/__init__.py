"""The workers: each kind of work is a loop of its own, claimed in the database, so that any number may run."""
