"""Decides what a model sees and what becomes of its answer: pure functions of requests and numpy arrays, no torch."""
