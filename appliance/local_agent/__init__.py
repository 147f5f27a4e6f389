"""The built-in agent: samples this host and its devices."""
