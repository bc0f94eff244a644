"""The networks that are trained: how each is built, and where pretrained weights come from."""
