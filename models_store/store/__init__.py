"""File storage, signed bundles of models, and the registry of their versions."""
