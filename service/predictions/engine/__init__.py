"""From the bytes of an upload to a probability. Knows no HTTP."""
