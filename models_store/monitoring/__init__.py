"""Outcomes of predictions, the recall that they show, and whether a model's promise is in doubt."""
