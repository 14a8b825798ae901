"""Messages to people: what they say, and the ways that they go."""
