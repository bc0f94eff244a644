"""Registered data sets: what is recorded of them, and splits that share no lesion."""
