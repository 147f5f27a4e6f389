"""MIG instances for workers that want hardware between them: a plan first, and nothing done before it is confirmed.

A GPU that has processes, or of which anything is booked, is never touched, and no GPU is ever reset. Between its
confirmation and its end a plan holds the whole GPU in the ledger, so that nobody is given it meanwhile.
"""

import os
import secrets
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
import trio
from attrs import define, field, frozen

from appliance.plugin import ApplianceError, Booking, Conflict, Core, Holder, NotAvailable, NotFound, Part, to_unix_s

from .mig_device import CHANGE_SECONDS, PROGRAM, Facts, MigDevice
from .mig_profiles import Profile, percent_of, pick

log = structlog.get_logger(__name__)

PLANS_MAX: Final = 64
PLAN_US: Final = 10 * 60 * 1_000_000
"""For how long a plan can be confirmed."""
WHOLE_MILLI_GPU: Final = 1000
LEASE_SECONDS: Final = 4 * CHANGE_SECONDS
UNPROVEN: Final = "unproven on this host: no check on a real device has run"
NOT_ROOT: Final = "not available because the appliance does not run as root, and nobody else may change MIG"
PROOF_FILE: Final = "mig-proof.json"


@frozen(kw_only=True)
class Plan:
    """What would be done to a GPU, in words and as the commands that do it."""

    plan_id: str
    gpu_id: str
    made_unix_us: int
    vram_mb: int | None
    compute_percent: int | None
    facts: Facts
    """What the GPU was when the plan was made."""
    profile: Profile
    steps: tuple[tuple[str, ...], ...]
    """Arguments of ``nvidia-smi``, in order."""
    words: str
    disturbs: tuple[str, ...]
    """What others will notice, in words; empty for nothing."""
    problem: str = ""
    """Why it cannot be carried out here though it could be planned."""

    @property
    def enables_mode(self) -> bool:
        """Whether MIG mode is off and has to be switched on."""
        return not self.facts.is_on


@frozen(kw_only=True)
class Made:
    """A plan that was carried out."""

    plan: Plan
    profile: Profile
    instance_id: int
    mig_id: str
    """What a worker names in ``gpu_ids``."""
    memory_mib: int
    """As the driver says."""


@define(eq=False)
class MigPlanner:
    """Makes plans, and carries out those that somebody confirms while nothing has changed."""

    core: Core
    program: str = PROGRAM
    is_root: bool = field(factory=lambda: os.geteuid() == 0)
    _plans: dict[str, Plan] = field(factory=dict, init=False)
    _lock: trio.Lock = field(factory=trio.Lock, init=False)
    _proof: str | None = field(default=None, init=False)

    # ------------------------------------------------------------ proof

    def proof(self) -> str:
        """Return in words what has been seen of MIG on this host."""
        if self._proof is None:
            try:
                told = msgspec.json.decode(self._proof_file().read_bytes(), type=dict[str, Any])
                self._proof = f"seen on this host: the driver ({told['driver_version']}) gave an instance its memory"
            except (OSError, KeyError, msgspec.DecodeError):
                self._proof = UNPROVEN
        return self._proof

    def _prove(self, made: Made) -> None:
        """Write down that the driver gives an instance the memory that its profile names, and no more."""
        if not made.profile.memory_mib * 0.9 <= made.memory_mib <= made.profile.memory_mib * 1.1:
            return
        told = {
            "driver_version": made.plan.facts.driver_version,
            "model": made.plan.facts.model,
            "profile": made.profile.name,
            "memory_mib": made.memory_mib,
            "at_unix_s": to_unix_s(self.core.now()),
        }
        try:
            self.core.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._proof_file().write_bytes(msgspec.json.encode(told))
        except OSError as error:
            log.warning("mig.proof_not_written", reason=str(error))
        self._proof = None

    def _proof_file(self) -> Path:
        return self.core.folder / PROOF_FILE

    # ------------------------------------------------------------ plans

    async def plan(self, gpu_id: str, *, vram_mb: int | None = None, compute_percent: int | None = None) -> Plan:
        """Say what would be done; nothing is.

        :raises NotFound: this host has no such GPU.
        :raises Conflict: the GPU is in use, or has no room for it.
        :raises NotAvailable: there is no MIG here.
        """
        async with self._lock:
            try:
                device = self._device(gpu_id)
                facts = await self._idle_facts(device)
                profile = pick(facts.profiles, vram_mb=vram_mb, compute_percent=compute_percent)
            except Conflict as error:
                raise self._with_proof(error) from error
            return self._keep(device, facts, profile, vram_mb, compute_percent)

    def _keep(
        self, device: MigDevice, facts: Facts, profile: Profile, vram_mb: int | None, compute_percent: int | None
    ) -> Plan:
        wanted = profile.name if profile.profile_id is None else str(profile.profile_id)
        switching = () if facts.is_on else (device.switching(on=True),)
        made = Plan(
            plan_id=secrets.token_hex(8),
            gpu_id=device.gpu_id,
            made_unix_us=self.core.now(),
            vram_mb=vram_mb,
            compute_percent=compute_percent,
            facts=facts,
            profile=profile,
            steps=(*switching, device.creating(wanted)),
            words=f"{_words(device.gpu_id, facts, profile)}. {self.proof()}",
            disturbs=_disturbs(device.gpu_id, facts),
            problem="" if self.is_root else NOT_ROOT,
        )
        self._plans[made.plan_id] = made
        while len(self._plans) > PLANS_MAX:
            del self._plans[next(iter(self._plans))]
        return made

    async def confirm(self, plan_id: str) -> Made:
        """Do what a plan says, once; what fails on the way is taken back.

        :raises NotFound: there is no such plan, or it is older than ten minutes.
        :raises Conflict: the GPU is not any more as it was planned for, or the driver refused.
        :raises NotAvailable: we are not root.
        """
        async with self._lock:
            plan = self._plans.get(plan_id)
            if plan is None or self.core.now() - plan.made_unix_us > PLAN_US:
                raise NotFound("plan", plan_id[:32], hint="make it again")
            if not self.is_root:
                raise NotAvailable(NOT_ROOT)
            del self._plans[plan_id]
            try:
                return await self._alone(plan, self._device(plan.gpu_id))
            except Conflict as error:
                raise self._with_proof(error) from error

    async def _alone(self, plan: Plan, device: MigDevice) -> Made:
        booking = await self._reserve(plan)
        # Whoever asked may hang up, but a GPU is not left half changed; every command has a deadline of its own.
        with trio.CancelScope(shield=True):
            try:
                return await self._carry_out(plan, device)
            finally:
                await self.core.ledger.release(booking.holder, booking.fencing_token)
        raise AssertionError("nobody cancels the scope")

    async def _reserve(self, plan: Plan) -> Booking:
        """Book the whole GPU, which nobody can who is not alone on it."""
        holder = Holder(kind="reservation", holder_id=f"mig:{plan.plan_id}")
        part = Part(gpu_id=plan.gpu_id, milli_gpu=WHOLE_MILLI_GPU)
        try:
            return await self.core.ledger.book(holder, (part,), lease_seconds=LEASE_SECONDS)
        except Conflict:
            raise _booked() from None

    async def _carry_out(self, plan: Plan, device: MigDevice) -> Made:
        if await self._idle_facts(device, is_ours=True) != plan.facts:
            raise Conflict("the GPU has changed since the plan was made", hint="make it again")
        try:
            profile = await self._switch_on(plan, device) if plan.enables_mode else plan.profile
            instance_id = await device.create(profile.profile_id or 0)
        except ApplianceError:
            if plan.enables_mode:
                await self._switch_off(device)
            raise
        made = await self._look_at(plan, device, profile, instance_id)
        log.info("mig.made", gpu=plan.gpu_id, instance=made.mig_id, profile=profile.name)
        self._prove(made)
        return made

    async def _switch_on(self, plan: Plan, device: MigDevice) -> Profile:
        await device.switch(on=True)
        facts = await device.facts()
        if not facts.is_on:
            raise Conflict(
                "MIG mode waits for a reset of the GPU, which is not ours to do; it is off again",
                hint="stop what watches the GPU (nvsm, dcgm, nvidia-persistenced), or set the mode at the next restart",
            )
        return pick(facts.profiles, vram_mb=plan.vram_mb, compute_percent=plan.compute_percent)

    async def _switch_off(self, device: MigDevice) -> None:
        try:
            await device.switch(on=False)
        except ApplianceError as error:
            log.warning("mig.mode_not_taken_back", gpu=device.gpu_id, reason=error.message)

    async def _look_at(self, plan: Plan, device: MigDevice, profile: Profile, instance_id: int) -> Made:
        facts, ids = await device.facts(), await device.ids()
        for each in facts.instances:
            if each.instance_id == instance_id and each.index in ids:
                return Made(
                    plan=plan,
                    profile=profile,
                    instance_id=instance_id,
                    mig_id=ids[each.index],
                    memory_mib=each.memory_mib,
                )
        raise Conflict(
            f"{PROGRAM} has made GPU instance {instance_id}, and does not list it",
            hint=f"look with: {PROGRAM} mig -lgi -i {plan.gpu_id}",
        )

    # ------------------------------------------------------------ what is never touched

    def _device(self, gpu_id: str) -> MigDevice:
        known = self.core.inventory.gpu(gpu_id)
        if known.host_id != self.core.host_id or not known.present:
            raise NotFound("GPU", gpu_id, hint="only those of this host")
        if known.gpu.vendor != "nvidia" or known.gpu.parent_gpu_id is not None:
            raise NotAvailable("not available because only a whole NVIDIA GPU can have MIG instances")
        return MigDevice(gpu_id, self.program)

    async def _idle_facts(self, device: MigDevice, *, is_ours: bool = False) -> Facts:
        """Read a GPU that nobody uses; raise `Conflict` for one that somebody does.

        :param is_ours: it is we who have booked it.
        """
        if not is_ours and self.core.ledger.free(device.gpu_id).milli_gpu < WHOLE_MILLI_GPU:
            raise _booked()
        facts = await device.facts()
        if facts.processes:
            pids = ", ".join(map(str, facts.processes[:8]))
            raise Conflict(f"the GPU has processes: {pids}", hint="end them first: a MIG change would")
        if not facts.is_settled:
            raise Conflict(
                "the GPU's MIG mode changes at its next reset", hint="let that happen first, or take the change back"
            )
        return facts

    def _with_proof(self, error: Conflict) -> Conflict:
        """Let a refusal, too, say what has been seen of MIG here."""
        return Conflict(error.message, hint=f"{error.hint}; {self.proof()}" if error.hint else self.proof())


def _booked() -> Conflict:
    hint = "disable the workers that hold it or an instance of it, or wait for what runs there"
    return Conflict("the GPU is booked", hint=hint)


def _words(gpu_id: str, facts: Facts, profile: Profile) -> str:
    size = f"{profile.memory_mib} MiB and {percent_of(profile, facts.profiles)} % of its compute"
    making = f"make one GPU instance {profile.name} of {gpu_id} ({size}) and one compute instance of all of that"
    if facts.is_on:
        return making
    about = ", or what comes nearest: its driver lists no profiles before that" if facts.is_estimate else ""
    return f"switch MIG mode on for {gpu_id} ({facts.model}), then {making}{about}"


def _disturbs(gpu_id: str, facts: Facts) -> tuple[str, ...]:
    if facts.is_on:
        return ()
    return (
        f"the driver resets {gpu_id} when the mode is switched on; what watches it without a process on it notices",
        f"{gpu_id} cannot be used as a whole any more while the mode is on: workers and tasks that name it get nothing",
        "instances are gone after a restart of the host, and have to be made again",
    )
