"""Access to the service: the gate, API keys, sessions of browsers, and rate limits."""
