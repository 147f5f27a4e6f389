"""Payloads: versions of what runs on drones, kept here and brought to them over ssh."""
