"""Metrics ingest and dashboard data, as document 004 has them: agents post samples, front ends read them."""
