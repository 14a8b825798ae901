"""Messages by hand: payloads to readings, and which device a topic is of."""
