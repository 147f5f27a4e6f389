"""The one module of the appliance that a plugin imports.

A plugin is a module that says ``appliance_api = 1`` and implements hooks of `appliance.hookspecs`::

    from appliance.plugin import PERSON, Call, Core, Parts, Surface, hookimpl

    appliance_api = 1
    api = Surface("hello", prefixes=("/api/hello",))


    @api.get("/api/hello", caller=PERSON)
    async def hello(call: Call[None]) -> dict[str, str]:
        return {"hello": call.caller.name}


    @hookimpl
    def appliance_setup(core: Core) -> Parts:
        return Parts(surfaces=[api.bind(core)])

A plugin that gives out credentials in the transaction of its own rows calls, within its write function,
`insert_credential` (of what `mint_credential` made), `consume_credential`, `revoke_credential` and
`revoke_credentials_of`, and tells core's `Credentials` after the commit (``remember``, ``consumed``, ``forget``).
"""

import pluggy

from appliance.backends import BackendStatus, DeviceAbsent, DeviceBackend, DeviceEvent, DeviceReading
from appliance.clock import Now, SteadyClock, to_unix_s, unix_now_us
from appliance.commands import Command, CommandApi, CommandReply
from appliance.contract import Core, Panel, PanelContent, PanelRow, Parts, Readiness
from appliance.credentials.kinds import ANONYMOUS, PERSON, Caller, Kind, Role
from appliance.credentials.rules import Minted
from appliance.credentials.rules import mint as mint_credential
from appliance.credentials.store import consume as consume_credential
from appliance.credentials.store import insert as insert_credential
from appliance.credentials.store import revoke as revoke_credential
from appliance.credentials.store import revoke_of as revoke_credentials_of
from appliance.database import Database
from appliance.devices import DiskSample, FanSample, Gpu, GpuProcess, GpuSample, HostSample, NetworkSample
from appliance.engines import (
    EngineLost,
    EngineStatus,
    Exit,
    Found,
    Launch,
    LaunchFailed,
    LogChunk,
    OutputSink,
    TaskEngine,
    Usage,
    Volume,
)
from appliance.engines import labels as engine_labels
from appliance.errors import (
    ApplianceError,
    BadInput,
    Busy,
    Conflict,
    DeviceUnavailable,
    Forbidden,
    Gone,
    MethodNotAllowed,
    NotAuthenticated,
    NotAvailable,
    NotFound,
    PathNotFound,
    StorageFailed,
    TooLarge,
    TooManyRequests,
)
from appliance.events import Event, Events, Lagged
from appliance.frames import text_frames
from appliance.host import Host
from appliance.ids import new_id, new_secret
from appliance.inventory.models import Mark, MarkKind
from appliance.jobs import Attempt, Dependency, DependencyKind, EndReason, Job, JobState, Needs, Placement, RetryRule
from appliance.ledger.rules import Booking, Holder, Part
from appliance.licenses import ClockWentBack, License, LicenseRefused, Licenses
from appliance.migrations import Migration
from appliance.notices import Notice, Notices
from appliance.prometheus import ScrapedHost
from appliance.rate import Rate
from appliance.scheduler.capacity import EngineOffer, GpuCapacity, HostCapacity
from appliance.scheduler.explain import Explanation
from appliance.scheduler.placement import Reason
from appliance.scheduler.records import JobRecord
from appliance.scheduler.runtimes import Runtime
from appliance.scheduler.schedules import Schedule
from appliance.scheduler.service import Scheduler
from appliance.series.flatten import SampleLike, model_of
from appliance.series.rates import Rates
from appliance.series.service import Reading
from appliance.series.store import Stored
from appliance.series.window import Column, Devices, Wanted, Window
from appliance.service import Service
from appliance.settings import setting
from appliance.surface import (
    RAW,
    STREAMED,
    Answer,
    BoundSurface,
    Call,
    Cookie,
    Endpoint,
    File,
    Head,
    Redirect,
    ServerEvent,
    Socket,
    SocketClosed,
    Stream,
    Surface,
)
from appliance.taskfiles import StoredFile, TaskFiles
from appliance.tasklogs import LogBlock, TaskLogs

hookimpl = pluggy.HookimplMarker("appliance")
"""Marks a function of a plugin as the implementation of the hook of the same name."""

__all__ = [
    "ANONYMOUS",
    "PERSON",
    "RAW",
    "STREAMED",
    "Answer",
    "ApplianceError",
    "Attempt",
    "BackendStatus",
    "BadInput",
    "Booking",
    "BoundSurface",
    "Busy",
    "Call",
    "Caller",
    "ClockWentBack",
    "Column",
    "Command",
    "CommandApi",
    "CommandReply",
    "Conflict",
    "Cookie",
    "Core",
    "Database",
    "Dependency",
    "DependencyKind",
    "DeviceAbsent",
    "DeviceBackend",
    "DeviceEvent",
    "DeviceReading",
    "DeviceUnavailable",
    "Devices",
    "DiskSample",
    "EndReason",
    "Endpoint",
    "EngineLost",
    "EngineOffer",
    "EngineStatus",
    "Event",
    "Events",
    "Exit",
    "Explanation",
    "FanSample",
    "File",
    "Forbidden",
    "Found",
    "Gone",
    "Gpu",
    "GpuCapacity",
    "GpuProcess",
    "GpuSample",
    "Head",
    "Holder",
    "Host",
    "HostCapacity",
    "HostSample",
    "Job",
    "JobRecord",
    "JobState",
    "Kind",
    "Lagged",
    "Launch",
    "LaunchFailed",
    "License",
    "LicenseRefused",
    "Licenses",
    "LogBlock",
    "LogChunk",
    "Mark",
    "MarkKind",
    "MethodNotAllowed",
    "Migration",
    "Minted",
    "Needs",
    "NetworkSample",
    "NotAuthenticated",
    "NotAvailable",
    "NotFound",
    "Notice",
    "Notices",
    "Now",
    "OutputSink",
    "Panel",
    "PanelContent",
    "PanelRow",
    "Part",
    "Parts",
    "PathNotFound",
    "Placement",
    "Rate",
    "Rates",
    "Readiness",
    "Reading",
    "Reason",
    "Redirect",
    "RetryRule",
    "Role",
    "Runtime",
    "SampleLike",
    "Schedule",
    "Scheduler",
    "ScrapedHost",
    "ServerEvent",
    "Service",
    "Socket",
    "SocketClosed",
    "SteadyClock",
    "StorageFailed",
    "Stored",
    "StoredFile",
    "Stream",
    "Surface",
    "TaskEngine",
    "TaskFiles",
    "TaskLogs",
    "TooLarge",
    "TooManyRequests",
    "Usage",
    "Volume",
    "Wanted",
    "Window",
    "consume_credential",
    "engine_labels",
    "hookimpl",
    "insert_credential",
    "mint_credential",
    "model_of",
    "new_id",
    "new_secret",
    "revoke_credential",
    "revoke_credentials_of",
    "setting",
    "text_frames",
    "to_unix_s",
    "unix_now_us",
]
