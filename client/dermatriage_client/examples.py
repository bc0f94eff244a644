"""Examples in the schemas, for the API's documentation; a test compares them with the server's catalogue."""

from typing import Any

DISCLAIMER = "For research and education only. Not a medical device; never use it to diagnose or treat a person."
EXPERIMENT_ID = "exp_5f0c7a7f6f0b4c1f8d0f3f1f8f6a2b11"
VERSION = "mdl_8c1f6a0e5b7d4c0f9a3e2d1c0b9a8f7e"
ARCHITECTURE: dict[str, Any] = {
    "family": "custom_cnn",
    "name": "CNN_v1",
    "filters": 32,
    "depth": 3,
    "dropout": 0.5,
    "dense": 512,
    "learning_rate": 0.001,
    "batch_size": 64,
    "hypothesis": "baseline small",
}
STRATEGY: dict[str, Any] = {
    "name": "LowLR",
    "unfreeze": "all",
    "dropout": None,
    "learning_rate": 5e-05,
    "change": "lr 0.00005",
    "hypothesis": "stability",
}
RECIPE: dict[str, Any] = {
    "name": "classic",
    "target": "malignant",
    "optimizer": "adam",
    "learning_rate": "constant",
    "weight_decay": 0.0,
    "warm_up": 0.0,
    "label_smoothing": 0.0,
    "pretrained_epochs": 1.0,
    "augmentation": {"rotation_degrees": 20, "shift": 0.15, "zoom": 0.1, "at_once": False},
    "description": "two classes, Adam, early stopping",
}
SELECTION_POLICIES = ["val_recall", "specificity_at_recall", "val_f2", "val_recall_unguarded"]
CALIBRATION_POLICIES = [
    "np_sensitivity",
    "conformal_risk_control",
    "recall_at_precision",
    "f_beta",
    "cost",
    "youden",
    "fixed",
]
PRESETS: dict[str, dict[str, Any]] = {
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
    "laptop": {
        "name": "laptop",
        "architectures": ["ConvNet_v1", "EffLite_v1"],
        "class_weights": ["W0"],
        "recipe": "modern",
        "epochs": 24,
        "selection": {"policy": "specificity_at_recall"},
        "strategies": [],
        "promote": "if_better",
        "final": {"views": 8, "ensemble": 2},
    },
    "best": {
        "name": "best",
        "architectures": ["ConvNet_v1", "EffLite_v1"],
        "class_weights": ["W0"],
        "recipe": "modern",
        "epochs": 24,
        "selection": {"policy": "specificity_at_recall"},
        "strategies": [],
        "promote": "if_better",
        "input_sizes": [56, 112],
        "final": {"views": 8, "ensemble": 3},
    },
    "full": {"name": "full", "promote": "if_better"},
}
# The preset `laptop` on DermaMNIST with every default filled in.
SPEC: dict[str, Any] = {
    "name": "laptop",
    "dataset": "dermamnist",
    "architectures": ["ConvNet_v1", "EffLite_v1"],
    "class_weights": ["W0"],
    "weights": "imagenet",
    "recipe": "modern",
    "input_sizes": [],
    "repeats": 1,
    "epochs": 24,
    "patience": 10,
    "seed": 42,
    "priority": 5,
    "selection": {"policy": "specificity_at_recall", "min_specificity": 0.5},
    "strategies": [],
    "calibration": {
        "policy": "np_sensitivity",
        "target_recall": 0.9,
        "confidence": 0.95,
        "source": "train",
        "share": 0.1,
        "reuse": False,
        "fallback": None,
        "min_precision": 0.4,
        "beta": 2.0,
        "false_negative_cost": 10.0,
        "threshold": None,
    },
    "final": {"views": 8, "ensemble": 2},
    "limits": {"trial_minutes": 720.0, "experiment_minutes": None},
    "queue": "cpu",
    "promote": "if_better",
}
# As a model gives them that calls the image malignant with probability 0.37.
DIAGNOSES: list[dict[str, Any]] = [
    {
        "diagnosis": "akiec",
        "name": "actinic keratoses and intraepithelial carcinoma",
        "malignant": True,
        "probability": 0.05,
    },
    {"diagnosis": "bcc", "name": "basal cell carcinoma", "malignant": True, "probability": 0.08},
    {"diagnosis": "bkl", "name": "benign keratosis-like lesions", "malignant": False, "probability": 0.11},
    {"diagnosis": "df", "name": "dermatofibroma", "malignant": False, "probability": 0.02},
    {"diagnosis": "mel", "name": "melanoma", "malignant": True, "probability": 0.24},
    {"diagnosis": "nv", "name": "melanocytic nevi", "malignant": False, "probability": 0.47},
    {"diagnosis": "vasc", "name": "vascular lesions", "malignant": False, "probability": 0.03},
]
GUARANTEE: dict[str, Any] = {
    "holds": True,
    "kind": "confidence",
    "target_recall": 0.9,
    "confidence": 0.95,
    "positives": 98,
    "allowed_misses": 4,
    "seen_misses": 4,
    "sentence": "With 95 % confidence, at least 90 % of malignant images like those of the calibration set are called "
    "malignant.",
}
PROMOTION: dict[str, Any] = {
    "promoted": True,
    "reason": "beats mdl_1b2c3d4e5f60718293a4b5c6d7e8f901 by target_recall (recall up to 0.9, then specificity) on the "
    "same test set: recall 0.910 against 0.920, specificity 0.700 against 0.640",
    "policy": "target_recall",
    "champion": "mdl_1b2c3d4e5f60718293a4b5c6d7e8f901",
    "figures": {"recall": 0.91, "specificity": 0.70},
    "champion_figures": {"recall": 0.92, "specificity": 0.64},
}
RESULT: dict[str, Any] = {
    "winner": "ConvNet_v1/W0",
    "model_version": VERSION,
    "threshold": 0.31,
    "guarantee": GUARANTEE,
    "test": {
        "recall": 0.91,
        "specificity": 0.70,
        "precision": 0.42,
        "f1": 0.58,
        "f2": 0.74,
        "roc_auc": 0.89,
        "pr_auc": 0.66,
        "confusion": {"tn": 1129, "fp": 484, "fn": 35, "tp": 357},
        "intervals": {"recall": {"low": 0.88, "high": 0.94}, "specificity": {"low": 0.68, "high": 0.72}},
        "images": 2005,
        "leaking_images": 695,
        "lesion_recall": {"found": 320, "lesions": 352, "recall": 0.909, "interval": {"low": 0.874, "high": 0.937}},
    },
    "promotion": PROMOTION,
    "warnings": [],
}
WEBHOOK: dict[str, Any] = {
    "type": "experiment.ended",
    "delivery": "dlv_2f6c1d0e9b8a47a6958473625140f9e8",
    "experiment": EXPERIMENT_ID,
    "experiment_url": f"http://127.0.0.1:8000/experiments/{EXPERIMENT_ID}",
    "name": "laptop",
    "status": "succeeded",
    "finished_at": "2026-01-05T11:02:40+00:00",
    "winner": RESULT["winner"],
    "model_version": VERSION,
    "recall": RESULT["test"]["recall"],
    "specificity": RESULT["test"]["specificity"],
    "threshold": RESULT["threshold"],
    "guarantee": GUARANTEE,
    "promotion": PROMOTION,
    "error": None,
}
METRICS: dict[str, Any] = {"val_recall": 0.87, "val_specificity": 0.74, "val_auc": 0.88, "loss": 0.61}
VERIFICATION: dict[str, Any] = {
    "outcome": "malignant",
    "verified_by": "histopathology",
    "verified_at": "2026-01-19T00:00:00Z",
    "note": "superficial spreading",
    "replaces": None,
}
OUTCOME: dict[str, Any] = {
    "prediction_id": "prd_7d8e9fa0b1c24d3e8f7a6b5c4d3e2f10",
    "number": 1,
    "current": True,
    **{name: VERIFICATION[name] for name in ("outcome", "verified_by", "verified_at", "note")},
    "recorded_by": "clinic",
    "recorded_at": "2026-01-20T08:12:00Z",
}
PROMISE_IN_DOUBT: dict[str, Any] = {
    "type": "promise.in_doubt",
    "delivery": "dlv_3a7d2e1f0c9b48b7b069584736251a0f",
    "model_version": VERSION,
    "model_url": f"http://127.0.0.1:8000/models/{VERSION}",
    "raised_at": "2026-03-02T06:00:00+00:00",
    "recall": 0.8,
    "low": 0.692,
    "high": 0.884,
    "target_recall": 0.9,
    "confidence": 0.95,
    "evidence": 23.1,
    "sentences": [
        "The promised recall of at least 0.90 is in doubt: evidence against it 23.1, the alert is raised at 20."
    ],
}
COMPARISON: dict[str, Any] = {
    "experiments": [
        {
            "id": f"exp_{seed:032x}",
            "name": "laptop",
            "status": "succeeded",
            "seed": seed,
            "first": "ConvNet_v1/W0, specificity at recall 0.90 0.712",
            "winner": "ConvNet_v1/W0",
            "model_version": f"mdl_{seed:032x}",
            "test_set": "0" * 64,
            "threshold": 0.31,
            "test": {"recall": recall, "specificity": 0.7, "roc_auc": 0.89, "f2": 0.74, "pr_auc": 0.66},
        }
        for seed, recall in ((42, 0.91), (43, 0.93))
    ],
    "settings": [{"field": "seed", "values": [42, 43]}],
    "trials": [{"name": "ConvNet_v1/W0", "results": [{"status": "succeeded", "val_recall": 0.9}, None]}],
    "groups": [
        {
            "experiments": [f"exp_{seed:032x}" for seed in (42, 43)],
            "seeds": [42, 43],
            "figures": {
                "recall": {"runs": 2, "mean": 0.92, "standard_deviation": 0.0141, "lowest": 0.91, "highest": 0.93}
            },
        }
    ],
}
