"""Who somebody is: passwords, keys, tokens, one-time codes. Knows no HTTP and no SQL."""
