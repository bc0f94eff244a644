"""Removal of files and rows that are no longer needed."""
