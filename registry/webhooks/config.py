"""The file that names the webhooks (TOML).

[[webhook]]
name = "on-call"
url = "https://hooks.example.com/crossfade"
secret_file = "/run/secrets/on-call"    # signs the requests; default: they are not signed
form = "cloudevents"                    # or "slack"; default: cloudevents
models = ["churn"]                      # default: all
events = ["ROLLOUT_ROLLED_BACK"]        # default: outcomes of rollouts, undone lanes and alerts
"""

import base64
import tomllib
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from crossfade.names import check_new_model
from registry.domain.ledger import check_type
from registry.domain.webhooks import DEFAULT_TYPES, Form, Webhook
from services.common.setting_files import read_text
from services.common.start_errors import in_own_words

_SHORTEST_SECRET: Final = 16
_ENCODED: Final = b"whsec_"
_SETTING: Final = "CROSSFADE_WEBHOOKS"


class WebhookFileError(ValueError):
    """The file cannot be used; the message says what is wrong with it, in one line."""


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ValueError("write https://HOST/PATH, in ASCII, without blanks and without a user")
    if parts.port is not None and not 0 < parts.port < 65536:
        raise ValueError("its port is none")
    return url


def _check_model(model: str) -> str:
    return check_new_model(model, "model")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    url: Annotated[str, AfterValidator(_check_url)]
    secret_file: Path | None = None
    form: Form = Form.CLOUDEVENTS
    models: list[Annotated[str, AfterValidator(_check_model)]] = []
    events: list[Annotated[str, AfterValidator(check_type)]] = []

    def webhook(self) -> Webhook:
        secret = b"" if self.secret_file is None else self._secret(self.secret_file)
        types = frozenset(self.events) or DEFAULT_TYPES
        return Webhook(self.name, self.url, self.form, secret, frozenset(self.models), types)

    def _secret(self, file: Path) -> bytes:
        where = f"webhook {self.name}: secret_file {file}"
        try:
            secret = _decoded(file.read_bytes().strip())
        except OSError as error:
            raise WebhookFileError(f"{where} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise WebhookFileError(f"{where}: {error}") from error
        if len(secret) < _SHORTEST_SECRET:
            raise WebhookFileError(f"{where} has {len(secret)} bytes; a secret has at least {_SHORTEST_SECRET}")
        return secret


def _decoded(secret: bytes) -> bytes:
    """As Standard Webhooks write a secret: `whsec_` and base64; anything else is taken as it is.

    Raises:
        ValueError: no base64 follows.
    """
    if not secret.startswith(_ENCODED):
        return secret
    try:
        return base64.b64decode(secret.removeprefix(_ENCODED), validate=True)
    except ValueError as error:
        raise ValueError("a secret that begins with whsec_ goes on in base64") from error


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    webhook: list[_Entry] = []


def read_webhooks(path: Path) -> tuple[Webhook, ...]:
    """The webhooks that a file names.

    Raises:
        WebhookFileError: it is not such a file, or a secret's file is none.
        SettingFileError: it cannot be read.
    """
    try:
        entries = _File.model_validate(tomllib.loads(read_text(_SETTING, path))).webhook
    except tomllib.TOMLDecodeError as error:
        raise WebhookFileError(f"{_SETTING}: {path}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = _where(first["loc"])
        said = in_own_words(first["msg"])
        if first["type"] == "extra_forbidden":
            said = f"is unknown; a file has [[webhook]] entries of {', '.join(_Entry.model_fields)}"
        raise WebhookFileError(f"{_SETTING}: {path}: {where}: {said}") from error
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise WebhookFileError(f"{_SETTING}: {path}: there are two webhooks {twice[0]}; give each a name of its own")
    return tuple(entry.webhook() for entry in entries)


def _where(place: tuple[int | str, ...]) -> str:
    """A place in the file: of an entry its number, from 1, as people count them."""
    match place:
        case ["webhook", int(entry), *fields]:
            return ", ".join([f"[[webhook]] number {entry + 1}", *map(str, fields)])
        case _:
            return ".".join(map(str, place))
