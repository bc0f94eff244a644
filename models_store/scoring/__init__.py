"""Calibrated probabilities of images, and their distance from the training images."""
