"""Scumble: Stable Diffusion inside Krita and GIMP."""

__version__ = "0.1.0"
