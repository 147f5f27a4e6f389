"""One GPU as NVIDIA's own ``nvidia-smi`` tells of it, and the changes of MIG that it makes.

What is read: ``-q -x`` (mode, instances, all processes, also those that draw), ``mig -lgip`` (profiles) and ``-L`` (ids
of instances). Drivers since about R580 list profiles also while MIG mode is off; older ones say "No MIG-enabled devices
found." until it is on.
"""

import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, frozen

from appliance.plugin import Conflict, NotAvailable

from .mig_profiles import Profile, published_profiles, read_profiles

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

PROGRAM: Final = "nvidia-smi"
READ_SECONDS: Final = 30.0
CHANGE_SECONDS: Final = 120.0
"""A change of the mode resets the GPU."""
_CREATED: Final = re.compile(r"created GPU instance ID\s+(\d+) on GPU", re.ASCII)
_LISTED_GPU: Final = re.compile(r"\(UUID: (GPU-[0-9A-Za-z-]+)\)", re.ASCII)
_LISTED_INSTANCE: Final = re.compile(r"^\s+MIG .*Device\s+(\d+):\s+\(UUID: (MIG-[0-9A-Za-z/-]+)\)", re.ASCII)


@frozen(kw_only=True)
class Instance:
    """One MIG instance with one of its compute instances."""

    index: int
    instance_id: int
    compute_id: int
    memory_mib: int


@frozen(kw_only=True)
class Facts:
    """What a GPU is now; equal as long as a plan for it holds."""

    model: str
    driver_version: str
    is_on: bool
    """MIG mode."""
    is_settled: bool
    """Whether the mode is what it will be after the next reset, too."""
    processes: tuple[int, ...]
    instances: tuple[Instance, ...]
    profiles: tuple[Profile, ...]

    @property
    def is_estimate(self) -> bool:
        """Whether the driver lists no profiles before MIG mode is on."""
        return any(profile.profile_id is None for profile in self.profiles)


@define(eq=False)
class MigDevice:
    """The GPU with one id."""

    gpu_id: str
    program: str = PROGRAM

    async def facts(self) -> Facts:
        """Read what it is now.

        :raises NotAvailable: there is no ``nvidia-smi``, it does not answer, or the GPU has no MIG.
        """
        gpu, driver_version = self._gpu(await self._run("-q", "-x", "-i", self.gpu_id))
        current, pending = _text(gpu, "mig_mode/current_mig"), _text(gpu, "mig_mode/pending_mig")
        if current not in ("Enabled", "Disabled"):
            raise NotAvailable(f"not available because this GPU has no MIG ({current[:64] or 'it does not say'})")
        model, is_on = _text(gpu, "product_name"), current == "Enabled"
        try:
            profiles = read_profiles(await self._run("mig", "-i", self.gpu_id, "-lgip"), is_on=is_on)
        except Conflict:
            if is_on:
                raise
            profiles = ()
        return Facts(
            model=model,
            driver_version=driver_version,
            is_on=is_on,
            is_settled=pending in ("", current),
            processes=tuple(sorted(_numbers(gpu, "processes/process_info/pid"))),
            instances=tuple(_instances(gpu)),
            profiles=profiles if profiles or is_on else published_profiles(model, _mib(gpu, "fb_memory_usage/total")),
        )

    async def switch(self, *, on: bool) -> None:
        """Ask for MIG mode on or off; whether it came is to be read. The GPU is never reset by us."""
        await self._run(*self.switching(on=on), seconds=CHANGE_SECONDS)

    async def create(self, profile_id: int) -> int:
        """Make a GPU instance with a compute instance of all of it; return its id.

        :raises Conflict: it could not be made; nothing of it is left.
        """
        try:
            said = await self._run(*self.creating(str(profile_id)), seconds=CHANGE_SECONDS)
        except Conflict as error:
            await self._undo(error.message)
            raise
        match = _CREATED.search(said)
        if match is None:
            raise Conflict(f"{PROGRAM} does not say which instance it has made: {said.strip()[:200]}")
        return int(match[1])

    async def _undo(self, said: str) -> None:
        match = _CREATED.search(said)  # the GPU instance was made, its compute instance was not
        if match is not None:
            await self.destroy(int(match[1]))

    async def destroy(self, instance_id: int) -> None:
        """Take away a GPU instance with what is in it."""
        one = ("-i", self.gpu_id, "-gi", str(instance_id))
        for command in ("-dci", "-dgi"):
            try:
                await self._run("mig", command, *one, seconds=CHANGE_SECONDS)
            except Conflict:
                if command == "-dgi":
                    raise

    async def ids(self) -> Mapping[int, str]:
        """Return the ids of its instances, by their index."""
        found: dict[int, str] = {}
        is_ours = False
        for line in (await self._run("-L")).splitlines():
            instance, gpu = _LISTED_INSTANCE.match(line), _LISTED_GPU.search(line)
            if instance is not None and is_ours:
                found[int(instance[1])] = instance[2]
            elif gpu is not None:
                is_ours = gpu[1] == self.gpu_id
        return found

    def switching(self, *, on: bool) -> tuple[str, ...]:
        """Return the arguments that switch MIG mode."""
        return "-i", self.gpu_id, "-mig", "1" if on else "0"

    def creating(self, profile: str) -> tuple[str, ...]:
        """Return the arguments that make a GPU instance and its compute instance."""
        return "mig", "-i", self.gpu_id, "-cgi", profile, "-C"

    def _gpu(self, text: str) -> "tuple[Element, str]":
        import xml.etree.ElementTree as ElementTree  # half a megabyte, for hosts whose GPUs can be divided

        try:
            root = ElementTree.fromstring(text)  # noqa: S314  what the host's own driver says
        except ElementTree.ParseError:
            raise NotAvailable(f"not available because {PROGRAM} says nothing that can be read") from None
        for gpu in root.iterfind("gpu"):
            if _text(gpu, "uuid") == self.gpu_id:
                return gpu, _text(root, "driver_version")
        raise NotAvailable(f"not available because {PROGRAM} does not see this GPU")

    async def _run(self, *arguments: str, seconds: float = READ_SECONDS) -> str:
        if shutil.which(self.program) is None:
            raise NotAvailable(f"not available because {PROGRAM} is not on this host")
        with trio.move_on_after(seconds):
            done = await trio.run_process(
                [self.program, *arguments],
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            text = done.stdout.decode("utf-8", "replace")
            if done.returncode:
                words = " ".join(text.split())[:300] or f"status {done.returncode}"
                raise Conflict(f"{PROGRAM} refused: {words}")
            return text
        raise NotAvailable(f"not available because {PROGRAM} did not answer within {seconds:.0f} s")


def _text(element: "Element", path: str) -> str:
    return (element.findtext(path) or "").strip()


def _numbers(element: "Element", path: str) -> list[int]:
    texts = [(each.text or "").strip() for each in element.iterfind(path)]
    return [int(text) for text in texts if text.isdigit()]


def _mib(element: "Element", path: str) -> int:
    number, _, unit = _text(element, path).partition(" ")
    return int(number) if number.isdigit() and unit == "MiB" else 0


def _instances(gpu: "Element") -> list[Instance]:
    names = ("index", "gpu_instance_id", "compute_instance_id")
    found = []
    for each in gpu.iterfind("mig_devices/mig_device"):
        numbers = [_text(each, name) for name in names]
        if all(number.isdigit() for number in numbers):
            index, instance_id, compute_id = map(int, numbers)
            memory_mib = _mib(each, "fb_memory_usage/total")
            found.append(Instance(index=index, instance_id=instance_id, compute_id=compute_id, memory_mib=memory_mib))
    return found
