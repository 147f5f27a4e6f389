"""Secrets that prove who calls: kinds, look-up, life."""
