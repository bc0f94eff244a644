"""What the web side and the training side share: the contract, the rows, the bundles. Imports neither of them."""

import os

# ONNX Runtime 1.32 otherwise keeps a device id and a database of events in the home folder. It reads this on import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
