"""The lines that greet whoever started us at a terminal: what runs, what was found, where to click."""

import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

import appliance
from appliance.backends import BackendStatus
from appliance.devices import Gpu
from appliance.run.listening import Bound


def first_lines(data_dir: Path, config_file: str, safe_mode: bool) -> Iterable[str]:
    """Yield what is known before anything is open."""
    config = _short(Path(config_file)) if config_file else "none (defaults)"
    yield (
        f" appliance {appliance.__version__}  data {_short(data_dir)}  config: {config}"
        "  no telemetry, no outbound calls"
    )
    if safe_mode:
        yield " SAFE MODE: the last three starts failed, so plugins that are not shipped are off this time"


def device_lines(gpus: Sequence[Gpu], backends: Sequence[BackendStatus]) -> Iterable[str]:
    """Yield what devices were found, by model; without any, what each backend says."""
    by_model: dict[str, list[Gpu]] = {}
    for gpu in gpus:
        if gpu.parent_gpu_id is None:
            by_model.setdefault(gpu.model, []).append(gpu)
    for model, found in by_model.items():
        word = "GPU" if len(found) == 1 else "GPUs"
        yield f" {len(found)} {word}: {model} {' '.join(f'#{gpu.index}' for gpu in found)}"
    for backend in backends:
        if not backend.ok and (backend.present or not gpus):
            yield f" {backend.name}: {backend.message}" + (f"  ({backend.hint})" if backend.hint else "")


def door_lines(bound: Sequence[Bound], public_url: str, setup_secret: str) -> Iterable[str]:
    """Yield where the appliance answers, the one-time link while there is no admin, and the way in from elsewhere."""
    if setup_secret:
        link = f"{public_url}/setup#t={setup_secret}"
        yield f" Open   {link}       (one-time, valid until used; appliance setup-link makes another)"
    else:
        yield f" Open   {public_url}/"
    for one in bound:
        if one.fingerprint:
            yield f" TLS    {one.address}  SHA-256 fingerprint {one.fingerprint}"
    for one in bound[1:]:
        yield f" Also   {one.url or one.address}"
    first = next((one.address for one in bound if not one.address.is_unix), None)
    if first is not None and first.is_loopback:
        host = f"[{first.host}]" if ":" in first.host else first.host
        yield f" From another machine:  ssh -L {first.port}:{host}:{first.port} {socket.gethostname()}"


def _short(path: Path) -> str:
    """Show a path below the home directory with ``~``."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)
