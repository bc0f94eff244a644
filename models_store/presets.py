"""Studies by name: partial specs that a person completes with at least a `dataset`."""

from typing import Any

Preset = dict[str, Any]

PRESETS: dict[str, Preset] = {
    # Minutes on two cores: proves the whole path, says little about a model.
    "demo": {
        "name": "demo",
        "architectures": ["CNN_v1"],
        "class_weights": ["W3"],
        "epochs": 4,
        "patience": 3,
        "strategies": ["HighDropout", "LowLR"],
        "promote": "always",
    },
    # An evening on two cores: a small network, trained to its end and fine-tuned with every strategy.
    "laptop": {
        "name": "laptop",
        "architectures": ["CNN_v1"],
        "class_weights": ["W3"],
        "epochs": 30,
        "patience": 10,
        "promote": "if_better",
    },
    # The whole study, every architecture: wants a GPU.
    "full": {"name": "full", "promote": "if_better"},
}
