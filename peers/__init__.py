"""Programs that nobody here wrote, to hold ours against: fetched, built and driven by tests and benchmarks."""
