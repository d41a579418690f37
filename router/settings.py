"""Settings of the Router."""

from pathlib import Path

from services.common.settings import ServiceSettings


class RouterSettings(ServiceSettings):
    """Settings of one Router.

    Attributes:
        token_keys: file of the prediction tokens' keys (a line `ID HEX` per key).
        table_file: where the last table is kept; unset: nowhere.
        maximum_concurrent_rpcs: calls beyond it are refused with RESOURCE_EXHAUSTED. A ModelStreamInfer is one, of up
            to 64 requests at once.
    """

    listen: str = "127.0.0.1:8500"
    token_keys: Path
    table_file: Path | None = None
    maximum_concurrent_rpcs: int = 4096
