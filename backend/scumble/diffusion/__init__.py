"""Stable Diffusion. The only package that knows torch."""
