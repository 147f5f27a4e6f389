"""A stand-in for ``nvidia-smi``: a real program whose GPU is a file, with the words that NVIDIA's own prints."""

import json
from pathlib import Path
from typing import Any

from attrs import frozen

LISTING = """\
+-------------------------------------------------------------------------------+
| GPU instance profiles:                                                        |
| GPU   Name               ID    Instances   Memory     P2P    SM    DEC   ENC  |
|                                Free/Total   GiB              CE    JPEG  OFA  |
|===============================================================================|
|   0  MIG 1g.10gb         19     7/7        9.75       No     16     1     0   |
|                                                               1     1     0   |
+-------------------------------------------------------------------------------+
|   0  MIG 1g.10gb+me      20     1/1        9.75       No     16     1     0   |
|                                                               1     1     1   |
+-------------------------------------------------------------------------------+
|   0  MIG 1g.20gb         15     4/4        19.62      No     26     1     0   |
|                                                               1     1     0   |
+-------------------------------------------------------------------------------+
|   0  MIG 2g.20gb         14     3/3        19.62      No     32     2     0   |
|                                                               2     2     0   |
+-------------------------------------------------------------------------------+
|   0  MIG 3g.40gb          9     2/2        39.50      No     60     3     0   |
|                                                               3     3     0   |
+-------------------------------------------------------------------------------+
|   0  MIG 7g.80gb          0     1/1        79.25      No     132    7     0   |
|                                                               8     7     1   |
+-------------------------------------------------------------------------------+
"""
PROGRAM = r'''#!/usr/bin/python3
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
gpu = json.loads((folder / "gpu.json").read_text())
asked = sys.argv[1:]
with open(folder / "calls", "a") as log:
    log.write(" ".join(asked) + "\n")

def end(text="", status=0):
    (folder / "gpu.json").write_text(json.dumps(gpu))
    print(text)
    sys.exit(status)

def number(name):
    return int(asked[asked.index(name) + 1])

if "-i" in asked and asked[asked.index("-i") + 1] != gpu["uuid"]:
    end("No devices were found", 6)
if asked[0] == "-q":
    devices = "".join(
        f"<mig_device><index>{place}</index><gpu_instance_id>{each['id']}</gpu_instance_id>"
        f"<compute_instance_id>0</compute_instance_id>"
        f"<fb_memory_usage><total>{each['mib']} MiB</total></fb_memory_usage></mig_device>"
        for place, each in enumerate(gpu["instances"])
    )
    processes = "".join(
        f"<process_info><pid>{pid}</pid><type>{kind}</type></process_info>" for pid, kind in gpu["processes"]
    )
    end(f"""<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log><driver_version>{gpu['driver']}</driver_version><attached_gpus>1</attached_gpus>
<gpu id="00000000:4F:00.0"><product_name>{gpu['model']}</product_name>
<mig_mode><current_mig>{gpu['current']}</current_mig><pending_mig>{gpu['pending']}</pending_mig></mig_mode>
<mig_devices>{devices or 'None'}</mig_devices><uuid>{gpu['uuid']}</uuid>
<fb_memory_usage><total>81559 MiB</total></fb_memory_usage>
<processes>{processes}</processes></gpu></nvidia_smi_log>""")
if asked == ["-L"]:
    lines = ["GPU 0: NVIDIA T4 (UUID: GPU-other)", "  MIG 9g.9gb      Device  0: (UUID: MIG-other)"]
    lines += [f"GPU 1: {gpu['model']} (UUID: {gpu['uuid']})"]
    lines += [f"  MIG {e['name']}     Device  {i}: (UUID: MIG-new-{e['id']})" for i, e in enumerate(gpu["instances"])]
    end("\n".join(lines))
if "-mig" in asked:
    wanted = "Enabled" if number("-mig") else "Disabled"
    gpu["pending"] = wanted
    if gpu["is_watched"] and wanted == "Enabled":
        end("Warning: MIG mode is in pending enable state for GPU 00000000:4F:00.0:In use by another client\nAll done.")
    gpu["current"] = wanted
    end(f"{wanted} MIG Mode for GPU 00000000:4F:00.0\nAll done.")
if gpu["current"] != "Enabled" and not (gpu["lists_when_off"] and "-lgip" in asked):
    end("No MIG-enabled devices found.", 6)
if "-lgip" in asked:
    end(gpu["listing"])
if "-cgi" in asked:
    known = {"19": ("1g.10gb", 9984), "15": ("1g.20gb", 20096), "14": ("2g.20gb", 20096), "0": ("7g.80gb", 81152)}
    profile = str(number("-cgi"))
    name, mib = known[profile]
    made = f"Successfully created GPU instance ID  3 on GPU  1 using profile MIG {name} (ID {profile})"
    gpu["instances"].append({"id": 3, "name": name, "mib": mib})
    if gpu["refuses_compute"]:
        end(made + "\nUnable to create a compute instance on GPU  1 GPU instance ID  3: Insufficient Resources", 19)
    rest = f"Successfully created compute instance ID  0 on GPU  1 GPU instance ID  3 using profile MIG {name} (ID  0)"
    end(made + "\n" + rest)
if "-dci" in asked:
    end("No compute instances found: Not Found", 6)
if "-dgi" in asked:
    gpu["instances"] = [each for each in gpu["instances"] if each["id"] != number("-gi")]
    end("Successfully destroyed GPU instance ID  3 from GPU  1")
end("Invalid combination of input arguments.", 2)
'''


@frozen
class SmiDevice:
    """The stand-in, and what it is told of its GPU."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "SmiDevice":
        folder.mkdir()
        made = cls(folder)
        (folder / "gpu.json").write_text("{}")
        made.set(
            uuid="GPU-0",
            model="NVIDIA H100 80GB HBM3",
            driver="580.173.02",
            current="Enabled",
            pending="Enabled",
            processes=[],
            instances=[],
            listing=LISTING,
            lists_when_off=True,
            is_watched=False,
            refuses_compute=False,
        )
        Path(made.program).write_text(PROGRAM)
        Path(made.program).chmod(0o755)
        return made

    @property
    def program(self) -> str:
        return str(self.folder / "nvidia-smi")

    @property
    def gpu(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "gpu.json").read_text()))

    def set(self, **facts: Any) -> None:
        (self.folder / "gpu.json").write_text(json.dumps(self.gpu | facts))

    def switch_off(self) -> None:
        self.set(current="Disabled", pending="Disabled")

    def changes(self) -> list[str]:
        """Return what was asked of it that changes anything."""
        path = self.folder / "calls"
        calls = path.read_text().splitlines() if path.exists() else []
        return [call for call in calls if any(word in call.split() for word in ("-cgi", "-mig", "-dgi", "-dci"))]
