"""What the gateway says of itself: to people, to Prometheus, to the receiver, running or stopped."""
