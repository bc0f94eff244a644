"""The rules of the three phases. They decide and write nothing; `models_store.runs` writes what they decide."""
