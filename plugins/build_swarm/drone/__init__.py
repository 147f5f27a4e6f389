"""``appliance drone``: builds what a swarm's server assigns, on a Gentoo host without a data directory.

One package at a time. What a drone owes the server lies in a file (`spool`) before it is owed: after a kill, a long
outage or a restart of either side it is told then, once, and the server decides whether it still counts.
"""
