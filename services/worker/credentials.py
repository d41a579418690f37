"""What a version's processes sign and serve with: read by the supervisor, which can wait while files are exchanged."""

from dataclasses import dataclass

from crossfade.connection import TlsContents
from services.common.channels import tls_contents
from services.common.prediction_token import TokenKeys
from services.common.setting_files import read_token_keys
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
    keys = None if settings.token_keys is None else read_token_keys(settings.token_keys)
    return Credentials(keys, tls_contents(settings) if settings.tls else None)
