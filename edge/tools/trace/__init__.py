"""What the buffer still knows of one reading, and how that is put together."""
