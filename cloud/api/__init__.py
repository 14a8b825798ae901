"""The API for people: parse, call SQL, serialise. What may be seen and done, the database decides."""
