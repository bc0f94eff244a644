"""The command line `dermatriage`."""
