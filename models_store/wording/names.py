"""Names as people read them: diagnoses and selection rules."""

from models_store.contract.specs import SelectionPolicy, SelectionSpec
from models_store.datasets.labels import SHORT_NAMES

DIAGNOSES = {short: published for published, short in SHORT_NAMES.items()}

SELECTION_RULES: dict[SelectionPolicy, str] = {
    "val_recall": "the highest recall among epochs whose specificity is at least {floor:.2f}; ROC AUC breaks ties",
    "val_f2": "the highest F2 among epochs whose specificity is at least {floor:.2f}; ROC AUC breaks ties",
    "specificity_at_recall": "the highest specificity at the target recall; ROC AUC breaks ties",
    "val_recall_unguarded": "the highest recall, regardless of specificity",
}


def selection_rule(spec: SelectionSpec) -> str:
    """How the best epoch and network are chosen."""
    return SELECTION_RULES[spec.policy].format(floor=spec.min_specificity)
