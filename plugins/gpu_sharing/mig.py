"""MIG instances for workers that want hardware between them: a plan first, and nothing done before it is confirmed.

What is done is done by NVIDIA's own ``nvidia-smi`` (NVIDIA Multi-Instance GPU User Guide, "Creating GPU Instances").
A GPU that has processes, or of which anything is booked, is never touched.
"""

import re
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

import trio
from attrs import define, field, frozen

from appliance.plugin import Conflict, Core, NotAvailable, NotFound

PROGRAM: Final = "nvidia-smi"
SECONDS: Final = 30.0
SLICES: Final = 7
"""Compute slices of a whole GPU, on every GPU that has MIG."""
PLANS_MAX: Final = 64
PLAN_US: Final = 10 * 60 * 1_000_000
"""For how long a plan can be confirmed."""
WHOLE_MILLI_GPU: Final = 1000
UNPROVEN: Final = "unproven on this host: no check on a real device has run"
_PROFILE: Final = re.compile(
    r"\|\s+\d+\s+MIG\s+(\d+)g\.(\S+)\s+(\d+)\s+(\d+)/(\d+)\s+([0-9.]+)\s+(?:Yes|No)\s", re.ASCII
)


@frozen(kw_only=True)
class Profile:
    """One kind of instance that a GPU offers."""

    name: str
    profile_id: int
    slices: int
    free: int
    memory_mib: int

    @property
    def is_plain(self) -> bool:
        """Whether it is of the usual kind, with neither media engines nor graphics beside."""
        return "+" not in self.name


@frozen(kw_only=True)
class Plan:
    """What would be done to a GPU, in words and as the commands that do it."""

    plan_id: str
    gpu_id: str
    made_unix_us: int
    profile: Profile | None
    """``None``: MIG mode has to be switched on first."""
    steps: tuple[tuple[str, ...], ...]
    words: str


def read_profiles(text: str) -> list[Profile]:
    """Return the profiles that ``nvidia-smi mig -lgip`` lists, smallest memory first."""
    found = [
        Profile(
            name=f"{slices}g.{rest}",
            profile_id=int(profile_id),
            slices=int(slices),
            free=int(free),
            memory_mib=int(float(memory) * 1024),
        )
        for slices, rest, profile_id, free, _, memory in _PROFILE.findall(text)
    ]
    return sorted(found, key=lambda each: (each.memory_mib, each.slices, each.profile_id))


def pick(profiles: Sequence[Profile], *, vram_mb: int | None, compute_percent: int | None) -> Profile:
    """Return the smallest profile that has what is wanted; raise `Conflict` where none is free."""
    for profile in profiles:
        is_enough = profile.memory_mib >= (vram_mb or 0) and profile.slices * 100 >= (compute_percent or 0) * SLICES
        if profile.is_plain and profile.free and is_enough:
            return profile
    offered = ", ".join(f"{each.name} ({each.free} free)" for each in profiles if each.is_plain) or "none"
    raise Conflict("no MIG profile with so much is free on this GPU", hint=f"it offers {offered}")


@define(eq=False)
class MigPlanner:
    """Makes plans, and carries out those that somebody confirms while nothing has changed."""

    core: Core
    program: str = PROGRAM
    _plans: dict[str, Plan] = field(factory=dict, init=False)
    _lock: trio.Lock = field(factory=trio.Lock, init=False)

    async def plan(self, gpu_id: str, *, vram_mb: int | None = None, compute_percent: int | None = None) -> Plan:
        """Say what would be done; nothing is.

        :raises NotFound: this host has no such GPU.
        :raises Conflict: the GPU is in use, or has no room for it.
        :raises NotAvailable: there is no MIG here.
        """
        async with self._lock:
            return await self._plan(gpu_id, vram_mb, compute_percent)

    async def _plan(self, gpu_id: str, vram_mb: int | None, compute_percent: int | None) -> Plan:
        await self._require_idle(gpu_id)
        if await self._mode(gpu_id) == "Disabled":
            steps: tuple[tuple[str, ...], ...] = (("-i", gpu_id, "-mig", "1"),)
            words = f"switch MIG mode on for {gpu_id}, which resets it; then plan once more. {UNPROVEN}"
            return self._keep(gpu_id, None, steps, words)
        profiles = read_profiles(await self._run("mig", "-i", gpu_id, "-lgip"))
        profile = pick(profiles, vram_mb=vram_mb, compute_percent=compute_percent)
        words = (
            f"make one instance {profile.name} of {gpu_id}: {profile.memory_mib} MiB and {profile.slices} of {SLICES}"
            f" compute slices, {profile.free} of them free now; what is there already stays. {UNPROVEN}"
        )
        return self._keep(gpu_id, profile, (("mig", "-i", gpu_id, "-cgi", str(profile.profile_id), "-C"),), words)

    def _keep(self, gpu_id: str, profile: Profile | None, steps: tuple[tuple[str, ...], ...], words: str) -> Plan:
        made = Plan(
            plan_id=secrets.token_hex(8),
            gpu_id=gpu_id,
            made_unix_us=self.core.now(),
            profile=profile,
            steps=steps,
            words=words,
        )
        self._plans[made.plan_id] = made
        while len(self._plans) > PLANS_MAX:
            del self._plans[next(iter(self._plans))]
        return made

    async def confirm(self, plan_id: str) -> Plan:
        """Do what a plan says, once.

        :raises NotFound: there is no such plan, or it is older than ten minutes.
        :raises Conflict: the GPU is not any more as it was planned for.
        """
        async with self._lock:
            plan = self._plans.pop(plan_id, None)
            if plan is None or self.core.now() - plan.made_unix_us > PLAN_US:
                raise NotFound("plan", plan_id[:32], hint="make it again")
            await self._require_idle(plan.gpu_id)
            is_off = await self._mode(plan.gpu_id) == "Disabled"
            if is_off != (plan.profile is None):
                raise Conflict("MIG mode has been switched since the plan was made", hint="make it again")
            if plan.profile is not None:
                now = {
                    each.profile_id: each for each in read_profiles(await self._run("mig", "-i", plan.gpu_id, "-lgip"))
                }
                if now.get(plan.profile.profile_id) != plan.profile:
                    raise Conflict("the GPU's instances have changed since the plan was made", hint="make it again")
            for step in plan.steps:
                await self._run(*step)
            return plan

    async def _require_idle(self, gpu_id: str) -> None:
        known = self.core.inventory.gpu(gpu_id)
        if known.host_id != self.core.host_id or not known.present:
            raise NotFound("GPU", gpu_id, hint="only those of this host")
        if known.gpu.vendor != "nvidia" or known.gpu.parent_gpu_id is not None:
            raise NotAvailable("not available because only a whole NVIDIA GPU can have MIG instances")
        if self.core.ledger.free(gpu_id).milli_gpu < WHOLE_MILLI_GPU:
            raise Conflict("the GPU is booked", hint="disable the workers that hold it, or wait for what runs there")
        apps = await self._run("-i", gpu_id, "--query-compute-apps=pid", "--format=csv,noheader")
        if any(line.strip().isdigit() for line in apps.splitlines()):
            raise Conflict("the GPU has processes", hint="end them first: a MIG change would")

    async def _mode(self, gpu_id: str) -> str:
        said = (await self._run("-i", gpu_id, "--query-gpu=mig.mode.current", "--format=csv,noheader")).strip()
        if said not in ("Enabled", "Disabled"):
            raise NotAvailable(f"not available because this GPU has no MIG ({said[:64] or 'it does not say'})")
        return said

    async def _run(self, *arguments: str) -> str:
        if shutil.which(self.program) is None:
            raise NotAvailable(f"not available because {PROGRAM} is not on this host")
        with trio.move_on_after(SECONDS):
            done = await trio.run_process(
                [self.program, *arguments], capture_stdout=True, stderr=subprocess.STDOUT, check=False
            )
            text = done.stdout.decode("utf-8", "replace")
            if done.returncode:
                last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
                raise Conflict(f"{PROGRAM} refused: {last[:200] or f'status {done.returncode}'}")
            return text
        raise NotAvailable(f"not available because {PROGRAM} did not answer within {SECONDS:.0f} s")
