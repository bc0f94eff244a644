"""Data sets in MedMNIST layout: their sources, their format and their content."""
