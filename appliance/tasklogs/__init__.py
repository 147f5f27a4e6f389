"""What jobs write: stored byte by byte, bounded, and followed live.

The text of a job is one row of bytes, counted from 0 over all its attempts. It is stored by whole lines, so that what
two streams write at once does not mix within a line; each run of lines knows its stream, attempt and time. An
**offset** is a position in that text: it stays valid for ever, also across restarts, and also when what lies there is
not kept any more.
"""

from appliance.tasklogs.blocks import LogBlock, LogPiece
from appliance.tasklogs.service import LogWriter, TaskLogs

__all__ = ["LogBlock", "LogPiece", "LogWriter", "TaskLogs"]
