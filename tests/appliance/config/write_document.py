"""Write ``config/appliance.toml`` anew: ``python -m tests.appliance.config.write_document``."""

from pathlib import Path

from appliance import loading
from appliance.config import default_document

if __name__ == "__main__":
    target = Path(__file__).parents[3] / "config" / "appliance.toml"
    target.parent.mkdir(exist_ok=True)
    target.write_text(default_document(loading.settings_classes(loading.load())))
