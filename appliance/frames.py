"""WebSocket messages as bytes, made once for any number of sockets."""

import struct
from collections.abc import Iterable


def text_frames(messages: Iterable[bytes]) -> bytes:
    """Return WebSocket messages as a server sends them: one unmasked, uncompressed text frame each (RFC 6455, 5.2).

    :param messages: UTF-8, which is not checked.
    """
    made = bytearray()
    for message in messages:
        length = len(message)
        if length < 126:
            made += bytes((0x81, length))
        elif length < 65_536:
            made += struct.pack("!BBH", 0x81, 126, length)
        else:
            made += struct.pack("!BBQ", 0x81, 127, length)
        made += message
    return bytes(made)
