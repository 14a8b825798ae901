"""Bills over HTTP: what was billed, what is paid and disputed, what the next one may be, and what others would cost."""
