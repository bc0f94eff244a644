"""What a frozen model does on images it never met: figures, curves, and how far to trust them."""
