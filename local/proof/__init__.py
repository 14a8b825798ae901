"""The proof: what is in the hypertables against what the simulated meters served, without asking the gateway."""
