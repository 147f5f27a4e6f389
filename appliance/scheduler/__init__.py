"""Jobs: in which order they run, where, and what becomes of them."""
