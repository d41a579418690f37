"""What a version's processes sign and serve with: read by the supervisor, which can wait while files are exchanged."""

from dataclasses import dataclass

from services.common.channels import TlsContents, tls_contents
from services.common.prediction_token import TokenKeys
from services.worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Credentials:
    """Handed to a version's processes at their start.

    Attributes:
        token_keys: sign prediction ids; None: answers have none.
        tls: certificate, key and CA; None: they serve without TLS.
    """

    token_keys: TokenKeys | None = None
    tls: TlsContents | None = None


def read_credentials(settings: WorkerSettings) -> Credentials:
    """What the files of the settings hold at present.

    Raises:
        ValueError: one cannot be read, or is not what it is to be; the message says which.
    """
    try:
        return Credentials(_token_keys(settings), tls_contents(settings) if settings.tls else None)
    except OSError as error:
        raise ValueError(f"{error.filename} cannot be read ({error.strerror})") from error


def _token_keys(settings: WorkerSettings) -> TokenKeys | None:
    if settings.token_keys is None:
        return None
    try:
        return TokenKeys.parse(settings.token_keys.read_text())
    except ValueError as error:
        raise ValueError(f"CROSSFADE_TOKEN_KEYS: {settings.token_keys}: {error}") from error
