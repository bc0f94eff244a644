"""The process of one trial, and the files by which it and its worker talk."""
