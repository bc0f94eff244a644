"""What the web side and the training side share: the contract, the rows, the bundles. Imports neither of them."""
