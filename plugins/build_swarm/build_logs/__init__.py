"""The output of builds, as drones stream it: stored by offset, bounded, listed, and followed live.

The text lies in files, as the logs of tasks do; this package knows which build each is of, and for how long it stays.
"""
