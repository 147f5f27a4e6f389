"""The appliance: one process that shows, shares, schedules and keeps alive the GPUs of a host."""

__version__ = "0.1.0"
