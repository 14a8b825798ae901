"""MQTT meters: who publishes what when, and the connection that carries it."""
