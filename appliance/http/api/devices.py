"""This host and its GPUs over our own API: what is there now, who uses it, and how it went.

Every key carries its unit; a key whose value is ``null`` is not reported, with the reason in the nearest ``missing``
(``{"fan_percent": "this GPU has no fan"}``). All endpoints are GET and need a viewer.

``GET /api/appliance/devices`` (a *gpu item* is used everywhere below)::

    {"items": [{
       "gpu_id": "GPU-6f0e...", "host_id": "5b1c...", "index": 0, "vendor": "nvidia", "model": "NVIDIA H200",
       "vram_total_bytes": 150754820096, "driver_version": "580.82.07", "pci_address": "00000000:1B:00.0",
       "parent_gpu_id": null, "mig_profile": null, "serial": "165...", "vbios_version": "96.00.B7.00.01",
       "compute_capability": "9.0", "power_limit_max_watts": 700.0, "clock_sm_max_mhz": 1980.0,
       "clock_memory_max_mhz": 3201.0, "pcie_link_generation_max": 5, "pcie_link_width_max": 16,
       "state": "present",              # present | asleep | lost (it was there, and is gone)
       "marks": [{"mark": "cordoned", "reason": "XID 79"}],
       "health": "ok",                  # ok | warning | critical
       "health_text": "ok",             # "thermal throttling (hardware)", "row remap pending: reset the GPU"
       "latest": {                      # null before the first reading of this GPU
          "taken_at_unix_s": 1795236300.25, "vram_total_bytes": 150754820096, "vram_used_bytes": 33501282304,
          "utilization_percent": 87.0, "memory_bus_utilization_percent": 41.0, "encoder_percent": 0.0,
          "decoder_percent": 0.0, "temperature_celsius": 61.0, "memory_temperature_celsius": 70.0,
          "fan_percent": null, "power_watts": 512.3, "power_limit_watts": 700.0,
          "energy_millijoules_total": 123456789, "clock_sm_mhz": 1980.0, "clock_memory_mhz": 3201.0,
          "pcie_rx_bytes_per_s": null, "pcie_tx_bytes_per_s": null,
          "nvlink_rx_bytes_total": 1, "nvlink_tx_bytes_total": 2,
          "ecc_corrected_total": 0, "ecc_uncorrected_total": 0, "pcie_link_generation": 5, "pcie_link_width": 16,
          "remapped_rows_corrected": 0, "remapped_rows_uncorrected": 0, "remap_pending": false,
          "remap_failed": false, "ecc_corrected_lifetime": 0, "ecc_uncorrected_lifetime": 0, "performance_state": "P0", "throttle_reasons": ["power cap"], "asleep": false,
          "process_count": 1, "missing": {"fan_percent": "this GPU has no fan"}},
       "top_process": {"pid": 48123, "user": "ana", "command": "python train.py", "container": "jupyter-ana",
          "task": null, "vram_used_bytes": 33501282304, "sm_percent": 87.0, "kind": "compute", "missing": {}}
     }],
     "next": null,
     "backends": [{"name": "nvidia", "state": "ok", "ok": true, "present": true,
        "message": "driver 580.82.07, NVML 13.580.82.07, 1 GPU", "hint": ""}]}

A backend's ``state`` is ``ok``, ``absent`` (no such hardware or driver here: nothing to mend), ``unavailable`` (it
should work and does not; ``message`` says why and ``hint`` what to do) or ``hung`` (the driver does not answer).

``GET /api/appliance/devices/{gpu_id}``: one gpu item with ``processes``: the list of all (shape of ``top_process``).

``GET /api/appliance/host``::

    {"host_id": "5b1c...", "hostname": "gpu-box-01", "kernel": "6.1.0-30-amd64", "system": "Debian GNU/Linux 12",
     "cpu_model": "AMD EPYC 9654", "sample_seconds": 2.0,
     "latest": {                        # null before the first reading
        "taken_at_unix_s": 1795236300.25, "uptime_seconds": 86400.0,
        "cpu_percent": 12.5, "cpu_user_percent": 9.0, "cpu_system_percent": 3.0, "cpu_iowait_percent": 0.5,
        "cpu_core_percents": [10.0, 15.0], "cpu_load_1": 0.5, "cpu_load_5": 0.4, "cpu_load_15": 0.3,
        "cpu_frequency_mhz": 2400.0, "cpu_temperature_celsius": 51.0, "cpu_count_logical": 2,
        "cpu_count_physical": 1, "memory_total_bytes": 1, "memory_used_bytes": 1, "memory_available_bytes": 1,
        "memory_percent": 41.0, "swap_total_bytes": 0, "swap_used_bytes": 0, "swap_percent": 0.0,
        "network_rx_bytes_total": 1, "network_tx_bytes_total": 1,
        "network_rx_bytes_per_s": 1.5, "network_tx_bytes_per_s": 1.5, "process_count": 140,
        "disks": [{"device": "nvme0n1", "read_bytes_total": 1, "write_bytes_total": 1, "read_count_total": 1,
           "write_count_total": 1, "busy_time_ms_total": 1, "read_bytes_per_s": 1.5, "write_bytes_per_s": 1.5,
           "reads_per_s": 1.5, "writes_per_s": 1.5, "busy_percent": 3.0}],
        "networks": [{"interface": "eth0", "rx_bytes_total": 1, "tx_bytes_total": 1, "rx_errors_total": 0,
           "tx_errors_total": 0, "rx_bytes_per_s": 1.5, "tx_bytes_per_s": 1.5,
           "rx_errors_per_s": 0.0, "tx_errors_per_s": 0.0}],
        "fans": [{"label": "fan1", "speed_rpm": 1200.0}],
        "filesystems": [{"mountpoint": "/", "device": "/dev/nvme0n1p1", "fstype": "ext4", "total_bytes": 1,
           "used_bytes": 1, "free_bytes": 1}]}}

Rates (``*_per_s``, ``busy_percent``) are ``null`` on the first reading.

``GET /api/appliance/processes``: the processes on every GPU, most memory first; items are process items with
``gpu_id``, ``gpu_index`` and ``model`` besides: ``{"items": [...], "next": null}``.

``GET /api/appliance/series?host=H&metrics=cpu_percent,memory_percent&from_unix_s=F&to_unix_s=T&max_points=600`` and
``GET /api/appliance/devices/{gpu_id}/series?metrics=...`` (columnar: ready for a chart; ``at_unix_s`` is the x axis
of every column, ``null`` where nothing was read). ``host`` defaults to this host, ``to_unix_s`` to now, ``from_unix_s``
to 15 minutes before. A host metric is a name of ``latest`` above; ``NAME`` of a disk, interface or fan is written
``disks.nvme0n1.read_bytes_per_s``, ``networks.eth0.rx_bytes_per_s``, ``fans.fan1.speed_rpm``, and of a GPU
``gpus.GPU-6f0e....utilization_percent`` (``devices/{gpu_id}/series`` takes the bare name)::

    {"host_id": "5b1c...", "from_unix_s": 1795235400.0, "to_unix_s": 1795236300.0, "step_seconds": 2.0,
     "tier": "raw",
     "at_unix_s": [1795236296.2, 1795236298.2],
     "series": [{"metric": "cpu_percent", "min": [1.0, 2.0], "max": [1.0, 2.0], "mean": [1.0, 2.0]}]}

``GET /api/appliance/overview``: all the above at once::

    {"at_unix_s": 1795236300.3, "host": {host}, "gpus": [gpu item, ...], "processes": [process item, ... at most 20],
     "panels": [...as core's panels provider gives them...], "backends": [backend, ...]}

``GET /api/appliance/overview/stream`` (server-sent events): first ``event: overview`` with the document above, then
one ``event: sample`` after each sample with the same document without ``panels`` (they are in ``event: panels``,
``{"panels": [...]}``, every few seconds).
"""
