"""The panel: a window in a process of its own that stays open beside the artist's pictures."""
