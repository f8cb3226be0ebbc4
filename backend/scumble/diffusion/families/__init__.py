"""One file for each model architecture."""
