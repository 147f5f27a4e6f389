"""The configuration: TOML over the environment over the defaults, with flags on top, and every mistake at once."""

from appliance.config.document import default_document
from appliance.config.file import Document, read_document
from appliance.config.load import core_settings, load
from appliance.config.loaded import Item, Loaded

__all__ = ["Document", "Item", "Loaded", "core_settings", "default_document", "load", "read_document"]
