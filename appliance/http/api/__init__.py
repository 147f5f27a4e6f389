"""Core's own endpoints, one module per topic."""
