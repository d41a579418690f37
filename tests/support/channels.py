"""Channels as services open them."""

from grpc import aio

from services.common.channels import Channels
from services.common.settings import TlsSettings


def open_channel(address: str, tls: TlsSettings) -> aio.Channel:
    """Opens a channel to host:port."""
    return Channels(tls).open(address)
