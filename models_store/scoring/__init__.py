"""From images to calibrated probabilities, and how far an image lies from those that trained the network."""
