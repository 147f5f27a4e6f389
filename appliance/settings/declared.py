"""How one setting is declared: what it does, whether a reload applies it, and where else its value may come from."""

from collections.abc import Callable
from typing import Any, Final, Literal

import attrs
from attrs import field

Reload = Literal["live", "restart"]

HELP: Final = "help"
RELOAD: Final = "reload"
ENVIRONMENT: Final = "environment"
SECRET: Final = "secret"  # noqa: S105  the name of a mark, not a password


def setting(
    default: Any = attrs.NOTHING,
    *,
    help: str,
    reload: Reload = "restart",
    environment: tuple[str, ...] = (),
    secret: bool = False,
    **options: Any,
) -> Any:
    """Declare one setting; ``options`` are those of `attrs.field`.

    :param help: one sentence, for the generated file and the documentation.
    :param reload: ``live`` when a reload applies it, ``restart`` when only a restart does.
    :param environment: variables that give a value when the file does not; several must not say different things.
    :param secret: never shown by ``config show``.
    """
    metadata = {HELP: help, RELOAD: reload, ENVIRONMENT: environment, SECRET: secret}
    return field(default=default, metadata=metadata, **options)


def text_rule(check: Callable[[str], Any]) -> Callable[[Any, Any, str], None]:
    """Return a validator of a text; ``check`` raises `ValueError` with what was expected."""

    def validate(instance: Any, attribute: Any, value: str) -> None:
        check(value)

    return validate
