"""The process of one trial, and the files that it exchanges with its worker."""
