"""From the bytes of an upload to a probability, without HTTP."""
