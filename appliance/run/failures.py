"""What a start can fail of, taken out of the groups in which nurseries raise it."""

from collections.abc import Iterator

from appliance.errors import ApplianceError, BadConfiguration
from appliance.licenses import LicenseKeyRefused
from appliance.listeners import CannotListen
from appliance.loading import RequiredPluginMissing


class PathsClash(ApplianceError):
    """Two plugins claim one method and path of a listener, so that nothing is served."""


NO_CRASH = (BadConfiguration, CannotListen, RequiredPluginMissing, PathsClash, LicenseKeyRefused)
"""What ends a start without counting as a failed one: somebody has to change something."""


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions of a group, and of the groups in it; any other exception is its only leaf."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from leaves(one)
    else:
        yield error


def told_in_words(error: BaseException) -> ApplianceError | None:
    """Return the first failure that has words for people; ``None`` when there is none."""
    return next((one for one in leaves(error) if isinstance(one, ApplianceError)), None)
