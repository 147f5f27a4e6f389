"""The same ingest as an ordinary Django application: what `tests.bench.ingest` compares with. Never imported by ours.

One file for everything: settings, tables, the view, the WSGI application. It does what the product does for one
sample: checks the server's token, reads the sample before, derives the rates and the verdict, and stores the snapshot
with a row for each disk, GPU and fan in one durable transaction (WAL, synchronous=FULL).

``python reference_django.py make FOLDER SLUG...`` makes the database and prints the tokens as JSON;
``BENCH_FOLDER=FOLDER gunicorn reference_django:application`` serves it.
"""

import hashlib
import json
import os
import secrets
import sys
from datetime import UTC, datetime

import django
from django.conf import settings

FOLDER = os.environ.get("BENCH_FOLDER") or sys.argv[2]
settings.configure(
    DEBUG=False,
    SECRET_KEY="bench",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(FOLDER, "reference.db"),
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
            },
        }
    },
    DATA_UPLOAD_MAX_MEMORY_SIZE=5 * 2**20,
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection, models, transaction  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


class Server(models.Model):
    slug = models.SlugField(unique=True)
    token_sha256 = models.CharField(max_length=64)
    agent_info = models.JSONField(default=dict)
    last_seen_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "bench"


class Snapshot(models.Model):
    server = models.ForeignKey(Server, on_delete=models.CASCADE)
    collected_at = models.DateTimeField(db_index=True)
    cpu_usage_percent = models.FloatField(default=0.0)
    cpu_iowait_percent = models.FloatField(null=True)
    cpu_load_1 = models.FloatField(null=True)
    memory_percent = models.FloatField(default=0.0)
    memory_used_bytes = models.BigIntegerField(default=0)
    swap_percent = models.FloatField(default=0.0)
    network_rx_bytes_total = models.BigIntegerField(default=0)
    network_tx_bytes_total = models.BigIntegerField(default=0)
    network_rx_bps = models.FloatField(default=0.0)
    network_tx_bps = models.FloatField(default=0.0)
    disk_read_bps = models.FloatField(default=0.0)
    disk_write_bps = models.FloatField(default=0.0)
    disk_util_percent = models.FloatField(default=0.0)
    gpu_top_util_percent = models.FloatField(null=True)
    process_count = models.IntegerField(default=0)
    bottleneck = models.CharField(max_length=32)

    class Meta:
        app_label = "bench"
        indexes = (models.Index(fields=["server", "-collected_at"]),)


class Disk(models.Model):
    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="disks")
    device = models.CharField(max_length=64)
    read_bytes_total = models.BigIntegerField(default=0)
    write_bytes_total = models.BigIntegerField(default=0)
    busy_time_ms_total = models.BigIntegerField(default=0)
    read_bps = models.FloatField(default=0.0)
    write_bps = models.FloatField(default=0.0)
    util_percent = models.FloatField(default=0.0)

    class Meta:
        app_label = "bench"


class Gpu(models.Model):
    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="gpus")
    gpu_index = models.IntegerField()
    name = models.CharField(max_length=200)
    uuid = models.CharField(max_length=128)
    utilization_gpu_percent = models.FloatField(null=True)
    utilization_memory_percent = models.FloatField(null=True)
    memory_total_bytes = models.BigIntegerField(default=0)
    memory_used_bytes = models.BigIntegerField(default=0)
    memory_percent = models.FloatField(null=True)
    temperature_c = models.FloatField(null=True)
    fan_speed_percent = models.FloatField(null=True)
    power_w = models.FloatField(null=True)
    power_limit_w = models.FloatField(null=True)

    class Meta:
        app_label = "bench"


class Fan(models.Model):
    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="fans")
    label = models.CharField(max_length=64)
    speed_rpm = models.FloatField(null=True)

    class Meta:
        app_label = "bench"


TABLES = (Server, Snapshot, Disk, Gpu, Fan)


def rate(now, before, seconds):
    return max(0, now - before) / seconds if seconds else 0.0


def verdict(cpu, gpu, disk, memory):
    if memory >= 95:
        return "memory-pressure"
    if gpu is not None and gpu >= 90 and cpu < 80 and disk < 70:
        return "gpu-bound"
    return "balanced"


@csrf_exempt
def ingest(request, slug):
    server = Server.objects.filter(slug=slug).first()
    if server is None:
        return JsonResponse({"ok": False}, status=404)
    given = hashlib.sha256(request.headers.get("X-Monitoring-Token", "").encode()).hexdigest()
    if not secrets.compare_digest(given, server.token_sha256):
        return JsonResponse({"ok": False}, status=401)
    payload = json.loads(request.body)
    sample, agent = payload["sample"], payload["agent"]
    at = datetime.fromisoformat(sample["collected_at"])
    with transaction.atomic():
        before = Snapshot.objects.filter(server=server).order_by("-collected_at").first()
        seconds = (at - before.collected_at).total_seconds() if before else 0.0
        known = {each.device: each for each in before.disks.all()} if before and seconds > 0 else {}
        disks = []
        for each in sample["disks"]:
            old = known.get(each["device"])
            disks.append(
                Disk(
                    device=each["device"],
                    read_bytes_total=each["read_bytes_total"],
                    write_bytes_total=each["write_bytes_total"],
                    busy_time_ms_total=each["busy_time_ms_total"],
                    read_bps=rate(each["read_bytes_total"], old.read_bytes_total, seconds) if old else 0.0,
                    write_bps=rate(each["write_bytes_total"], old.write_bytes_total, seconds) if old else 0.0,
                    util_percent=min(100.0, rate(each["busy_time_ms_total"], old.busy_time_ms_total, seconds) / 10)
                    if old
                    else 0.0,
                )
            )
        util = max((each.util_percent for each in disks), default=0.0)
        top = max((each["utilization_gpu_percent"] for each in sample["gpus"]), default=None)
        snapshot = Snapshot.objects.create(
            server=server,
            collected_at=at,
            cpu_usage_percent=sample["cpu_usage_percent"],
            cpu_iowait_percent=sample["cpu_iowait_percent"],
            cpu_load_1=sample["cpu_load_1"],
            memory_percent=sample["memory_percent"],
            memory_used_bytes=sample["memory_used_bytes"],
            swap_percent=sample["swap_percent"],
            network_rx_bytes_total=sample["network_rx_bytes_total"],
            network_tx_bytes_total=sample["network_tx_bytes_total"],
            network_rx_bps=rate(sample["network_rx_bytes_total"], before.network_rx_bytes_total, seconds)
            if before
            else 0.0,
            network_tx_bps=rate(sample["network_tx_bytes_total"], before.network_tx_bytes_total, seconds)
            if before
            else 0.0,
            disk_read_bps=sum(each.read_bps for each in disks),
            disk_write_bps=sum(each.write_bps for each in disks),
            disk_util_percent=util,
            gpu_top_util_percent=top,
            process_count=sample["process_count"],
            bottleneck=verdict(sample["cpu_usage_percent"], top, util, sample["memory_percent"]),
        )
        for each in disks:
            each.snapshot = snapshot
        Disk.objects.bulk_create(disks)
        Gpu.objects.bulk_create([Gpu(snapshot=snapshot, **each) for each in sample["gpus"]])
        Fan.objects.bulk_create([Fan(snapshot=snapshot, **each) for each in sample["fans"]])
        server.agent_info, server.last_seen_at = agent, datetime.now(UTC)
        server.save(update_fields=["agent_info", "last_seen_at"])
    shown = {"id": snapshot.pk, "bottleneck": snapshot.bottleneck, "disk_util_percent": util}
    return JsonResponse({"ok": True, "server": {"id": server.pk, "slug": slug}, "snapshot": shown})


urlpatterns = [path("api/ingest/servers/<slug:slug>/metrics/", ingest)]
application = get_wsgi_application()

if __name__ == "__main__":
    with connection.schema_editor() as editor:
        for table in TABLES:
            editor.create_model(table)
    tokens = {slug: secrets.token_urlsafe(32) for slug in sys.argv[3:]}
    for slug, token in tokens.items():
        Server.objects.create(slug=slug, token_sha256=hashlib.sha256(token.encode()).hexdigest())
    print(json.dumps(tokens))
