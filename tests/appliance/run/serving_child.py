"""``serve`` as a process of its own: the data directory, then a configuration file, then addresses."""

import sys
from pathlib import Path

from appliance.run import serve

if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2] else None, tuple(sys.argv[3:])))
