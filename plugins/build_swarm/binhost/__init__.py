"""The binary host: what drones have built, taken in, kept as staging area and releases, and served to Portage."""
