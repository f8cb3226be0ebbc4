"""Scumble in GIMP 3: every run of a procedure is a process of its own, and so is the panel."""
