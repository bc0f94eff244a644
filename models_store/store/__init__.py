"""What lies in files: the storage itself, signed bundles of models, and the registry that names them."""
