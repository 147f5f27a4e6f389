"""A backend whose behaviour a test decides."""

import threading
from collections.abc import Callable

from attrs import define, field

from appliance.backends import DeviceEvent, DeviceReading
from appliance.devices import Gpu, GpuProcess, GpuSample


def gpu(gpu_id: str = "GPU-a", index: int = 0, **more: object) -> Gpu:
    """Return a GPU."""
    return Gpu(gpu_id=gpu_id, index=index, vendor="test", model="Model T", **more)  # type: ignore[arg-type]


def sample(gpu: Gpu, at: int, processes: tuple[GpuProcess, ...] = ()) -> GpuSample:
    """Return a reading of a GPU."""
    return GpuSample(
        gpu_id=gpu.gpu_id,
        gpu_index=gpu.index,
        model=gpu.model,
        taken_at_unix_us=at,
        utilization_percent=50.0,
        processes=processes,
    )


@define
class Scripted:
    """Reads what it is told to, fails when told to, hangs while told to."""

    name: str = "test"
    gpus: tuple[Gpu, ...] = field(factory=lambda: (gpu(),))
    events: tuple[DeviceEvent, ...] = ()
    processes: tuple[GpuProcess, ...] = ()
    failure: BaseException | None = None
    open_failure: BaseException | None = None
    close_failure: BaseException | None = None
    go: threading.Event = field(factory=threading.Event)
    """Cleared: `read` hangs."""
    calls: list[str] = field(factory=list)
    threads: set[int] = field(factory=set)
    on_read: Callable[[], None] = lambda: None

    def __attrs_post_init__(self) -> None:
        self.go.set()

    def open(self) -> str:
        self._called("open")
        if self.open_failure:
            raise self.open_failure
        return "driver 1"

    def read(self, now_unix_us: int) -> DeviceReading:
        self._called("read")
        self.go.wait(10)
        self.on_read()
        if self.failure:
            raise self.failure
        samples = tuple(sample(each, now_unix_us, self.processes) for each in self.gpus)
        return DeviceReading(gpus=self.gpus, samples=samples, events=self.events)

    def close(self) -> None:
        self._called("close")
        if self.close_failure:
            raise self.close_failure

    def _called(self, name: str) -> None:
        self.calls.append(name)
        self.threads.add(threading.get_ident())
