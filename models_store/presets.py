"""Studies by name: partial specs that a person completes with at least a `dataset`."""

from typing import Any

Preset = dict[str, Any]

PRESETS: dict[str, Preset] = {
    # Minutes on two cores: proves the whole path, says little about a model. In so few epochs the recall at 0.5 still
    # leaps from epoch to epoch, and the rank of the scores says more.
    "demo": {
        "name": "demo",
        "architectures": ["CNN_v1"],
        "class_weights": ["W3"],
        "epochs": 5,
        "patience": 4,
        "selection": {"policy": "specificity_at_recall"},
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
        # At 0.5 a few lesions of recall decide between networks far apart in AUC; the threshold is set later anyway.
        "selection": {"policy": "specificity_at_recall"},
        "promote": "if_better",
    },
    # The whole study, every architecture: wants a GPU.
    "full": {"name": "full", "promote": "if_better"},
}
