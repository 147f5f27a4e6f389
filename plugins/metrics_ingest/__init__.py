"""Metrics ingest and dashboard data, as the documented metrics API has them: agents post samples, front ends read them."""
