"""What Portage on this host is asked for."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from .building import PATHS

PKGDIR: Final = "/var/cache/binpkgs"
ASK_SECONDS: Final = 30.0


def packages_folder() -> Path:
    """Ask Portage where it puts binary packages; blocks for as long as that takes."""
    program = shutil.which("portageq", path=PATHS)
    if program is None:
        return Path(PKGDIR)
    command = [program, "envvar", "PKGDIR"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=ASK_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return Path(PKGDIR)
    said = done.stdout.strip()
    return Path(said if said.startswith("/") else PKGDIR)
