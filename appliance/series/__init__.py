"""Time series for everyone: raw samples, rollup tiers, windows of any length."""
