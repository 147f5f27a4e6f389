"""Documented JSON and what we think in: requests, answers, and the error shape of both documented servers.

Names, types, bounds and texts are the document's; what its real clients send and read beyond it is marked so.
"""
