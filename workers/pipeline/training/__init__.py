"""Training one network: epochs, early stopping, checkpoints, and going on after a kill."""
