"""The contract that both sides share: the catalogue, specs, and the messages and results of a trial."""
