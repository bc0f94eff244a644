"""The words and shapes that every side shares: the catalogue, specs, and what a trial reports."""
