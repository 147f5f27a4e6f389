"""What happens in the appliance, told to everyone who asks: stored events and live announcements."""

from appliance.events.bus import EventBus
from appliance.events.model import Event, Events, Lagged, Subscription
from appliance.events.store import MIGRATIONS, OWNER

__all__ = ["MIGRATIONS", "OWNER", "Event", "EventBus", "Events", "Lagged", "Subscription"]
