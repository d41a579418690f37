"""Varints, by which Protocol Buffers write lengths ("Encoding": Base 128 Varints)."""


def varint(number: int) -> bytes:
    """A number, not negative, in groups of seven bits, the least first."""
    if number < 0x80:
        return bytes((number,))
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number that begins at a position, and the position after it.

    Raises:
        ValueError: the bytes end within it, or it is longer than a length's can be.
    """
    value = shift = 0
    while position < len(data) and shift < 35:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("no varint of a length")
