"""HTTP/2 in bytes, for what grpc's own client does not send and clients in other languages do."""

import asyncio
from typing import Final

DATA: Final = 0
HEADERS: Final = 1
SETTINGS: Final = 4
PING: Final = 6
GOAWAY: Final = 7
ACK: Final = 1
END_STREAM: Final = 1
END_HEADERS: Final = 4


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    """A frame (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


BEGIN: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS) + frame(SETTINGS, flags=ACK)
"""What a client's connection begins with."""


def call(method: str, metadata: dict[str, bytes] | None = None, stream: int = 1) -> bytes:
    """A call of gRPC with an empty message.

    Args:
        method: its path.
        metadata: values of up to 126 bytes.
        stream: an odd number, greater than that of the call before.
    """
    headers = {
        ":method": b"POST",
        ":scheme": b"http",
        ":path": method.encode(),
        ":authority": b"localhost",
        "content-type": b"application/grpc",
        "te": b"trailers",
        **(metadata or {}),
    }
    # Each as a literal that no table has (RFC 7541, 6.2.2).
    block = b"".join(
        b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value for name, value in headers.items()
    )
    return frame(HEADERS, block, END_HEADERS, stream) + frame(DATA, bytes(5), END_STREAM, stream)


async def read(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    """The next frame: what it is, its flags, and what it holds."""
    head = await reader.readexactly(9)
    return head[3], head[4], await reader.readexactly(int.from_bytes(head[:3]))
