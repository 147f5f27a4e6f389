"""This host as a drone of its own swarm, where ``emerge`` is.

It is always shown. It builds only with ``local_builds = true``, since emerge has to run as root: a build of whatever
somebody queues would run as the appliance's own user, which must then be root too. Until an operator has said so, the
host stands in the list as a paused drone. Where builds run as us, nobody is trusted for being our user any more.
"""
