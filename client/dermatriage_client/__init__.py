"""The HTTP API of DermaTriage from Python."""
