"""A command that a plugin adds to ``appliance``; light, because the command line reads it before anything else."""

from attrs import frozen


@frozen(kw_only=True)
class Command:
    """A command of ``appliance``, imported only when run."""

    name: str
    """One word, not taken by core or another plugin."""
    help: str
    """One line, shown by ``appliance --help``."""
    target: str
    """``"module:function"``; the function gets ``(api, arguments)`` and returns an exit status or ``None``."""
