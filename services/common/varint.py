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
