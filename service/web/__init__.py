"""The HTTP server around every feature: its limits, pages, documentation and metrics. Imports no feature."""
