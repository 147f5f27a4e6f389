"""Runs the commands of this host's workers: started as another user, seen to, started again, ended without remains.

`Runner` is the service. It is told what shall run by `Runner.put` and `Runner.remove`, and can be asked at any time.
A command listens on a loopback port that the runner chooses, and whoever stands in front of it asks for
`WorkerState.target`. It knows nothing of agents, shares and endpoints.
"""

from .identity import Identity, identity_of, may_use_own_uid
from .service import Runner
from .tended import Pace
from .variables import arguments, variables
from .wanted import Mps, Wanted, WorkerState

__all__ = [
    "Identity",
    "Mps",
    "Pace",
    "Runner",
    "Wanted",
    "WorkerState",
    "arguments",
    "identity_of",
    "may_use_own_uid",
    "variables",
]
