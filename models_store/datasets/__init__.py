"""Data sets in MedMNIST layout: where they come from, what they must look like, what they hold."""
