"""The figures and curves of a frozen model on unseen images, with their uncertainty."""
