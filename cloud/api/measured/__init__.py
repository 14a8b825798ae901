"""What meters measured: newest, history, sums, live and as files."""
