"""Who holds which part of which GPU, by lease and fencing token."""
