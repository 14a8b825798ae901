"""One machine, everything on it: servers found or fetched, services started and stopped, the demo and its proof."""
