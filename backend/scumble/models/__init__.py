"""Which models there are: found, identified by content, named by opaque ids, fetched when the user asks."""
