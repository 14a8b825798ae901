"""Intervals as files: CSV, Parquet and Green Button, written while they are read. Knows no HTTP and no SQL."""
