"""Hosts and GPUs by uuid, what knows them, and their marks."""
