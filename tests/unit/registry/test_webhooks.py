"""Webhooks: the file, the forms, the pauses."""

import json
import ssl
from dataclasses import replace
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import pytest

from crossfade.registry.v1 import resources_pb2
from registry.domain.ledger import Event, EventDraft, EventType
from registry.domain.webhooks import (
    DEFAULT_TYPES,
    TURN_SECONDS,
    Delivery,
    Form,
    Webhook,
    pause_seconds,
    refused_seconds,
)
from registry.webhooks import courier
from registry.webhooks.config import WebhookFileError, read_webhooks
from registry.webhooks.forms import cloud_event, sign, slack_text, write
from registry.webhooks.sender import POST_SECONDS, _connection


def hook(form: Form = Form.CLOUDEVENTS, secret: bytes = b"", **more: frozenset[str]) -> Webhook:
    values = {"models": frozenset[str](), "types": DEFAULT_TYPES, **more}
    return Webhook("w", "https://example.com/x", form, secret, **values)


def event(kind: EventType = "ROLLOUT_PROMOTED", model: str = "m", segment: str = "") -> Event:
    draft = EventDraft(kind, segment, "v2", 3, "It is better.")
    return Event(model, 7, draft, 1.0, "local:ana", 9, "h", "p")


def delivery(message: resources_pb2.Event) -> Delivery:
    return Delivery("m", 7, "w", message.SerializeToString(), 1.0, 1, 0, 2.0, "")


def test_a_turn_lasts_longer_than_a_request_and_the_transaction_after_it() -> None:
    # Otherwise another replica would tell the same while this one still does.
    assert TURN_SECONDS > POST_SECONDS + courier._DEADLINE_SECONDS


def test_who_wants_what() -> None:
    assert hook().wants(event())
    assert not hook().wants(event("ROLLOUT_STARTED"))
    assert hook(models=frozenset({"m"})).wants(event())
    assert not hook(models=frozenset({"n"})).wants(event())
    assert hook(types=frozenset({"ROLLOUT_STARTED"})).wants(event("ROLLOUT_STARTED"))


@pytest.mark.parametrize("kind", get_args(EventType))
@pytest.mark.parametrize("segment", ["", "eu"])
def test_whoever_names_no_types_wants_all_outcomes_in_every_segment(kind: EventType, segment: str) -> None:
    assert hook().wants(event(kind, segment=segment)) == (kind in DEFAULT_TYPES)
    assert hook(types=frozenset({kind})).wants(event(kind, segment=segment))


def test_of_what_a_webhook_is_told_that_does_not_choose() -> None:
    assert {
        "ROLLOUT_PROMOTED",
        "ROLLOUT_ROLLED_BACK",
        "ROLLOUT_INCONCLUSIVE",
        "ROLLOUT_CANCELLED",
        "LANE_UNDONE",
        "ROLLOUT_PAUSED",
        "ALERT_RAISED",
        "ALERT_ENDED",
    } == DEFAULT_TYPES


def test_pauses_double_from_seconds_to_an_hour() -> None:
    longest = [pause_seconds(attempts, lambda _, high: high) for attempts in (1, 2, 3, 10, 11, 1000)]
    assert longest == [5.0, 10.0, 20.0, 2560.0, 3600.0, 3600.0]
    assert pause_seconds(3, lambda low, _: low) == 10.0


def test_pauses_of_what_is_refused_double_to_a_day() -> None:
    longest = [refused_seconds(refusals, lambda _, high: high) for refusals in (1, 2, 11, 1000)]
    assert longest == [5.0, 10.0, 5120.0, 86_400.0]


def test_refusals_are_counted_among_the_attempts() -> None:
    first = delivery(resources_pb2.Event())
    failed = first.failed("nobody answered")
    assert failed == replace(first, attempts=2, refused=0, error="nobody answered")
    assert failed.refused_by("HTTP 400") == replace(first, attempts=3, refused=1, error="HTTP 400")


def test_a_signature_is_of_id_time_and_body() -> None:
    secret = b"0123456789abcdef"
    signed = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signed.startswith("v1,")
    assert signed == sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    for other in (
        sign(secret + b"x", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}'),
        sign(secret, "msg", "1614265330", b'{"test": 2432232314}'),
        sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265331", b'{"test": 2432232314}'),
        sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232315}'),
    ):
        assert other != signed


def test_a_version_is_the_subject_where_there_is_no_rollout() -> None:
    message = resources_pb2.Event(model="m", sequence=7, version="v1", type="LANE_UNDONE", reason="Bad.")
    request = write(hook(secret=b"s" * 16), delivery(message), 5.9)
    assert json.loads(request.body)["subject"] == "models/m/versions/v1"
    assert (request.headers["webhook-id"], request.headers["webhook-timestamp"]) == ("m/7", "5")
    assert slack_text(message) == ":rewind: *m* went back to v1: Bad."
    message.outcome.reason = "v2 is FAILED: Bad."
    assert slack_text(message) == ":rewind: *m* went back to v1: v2 is FAILED: Bad."


def test_a_model_is_the_subject_of_what_is_of_no_version() -> None:
    message = resources_pb2.Event(model="m", sequence=1, type="MODEL_CREATED", reason="Who leaves.")
    assert cloud_event(message)["subject"] == "models/m"
    assert slack_text(message) == "*m*: model created: Who leaves."


def test_slack_has_words_for_every_type() -> None:
    message = resources_pb2.Event(model="m", version="v1", segment="eu", type="VERSION_WITHDRAWN", reason="a & b")
    assert slack_text(message) == "*m* v1: version withdrawn in segment eu: a &amp; b"


def test_the_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef\n")
    file = tmp_path / "webhooks.toml"
    file.write_text(
        f'[[webhook]]\nname = "a"\nurl = "https://a.example/x"\nsecret_file = "{tmp_path}/secret"\n'
        '[[webhook]]\nname = "b"\nurl = "http://b.example"\nform = "slack"\nmodels = ["m"]\nevents = ["LANE_UNDONE"]\n'
    )
    first, second = read_webhooks(file)
    assert first == Webhook(
        "a", "https://a.example/x", Form.CLOUDEVENTS, b"0123456789abcdef", frozenset(), DEFAULT_TYPES
    )
    assert second == Webhook("b", "http://b.example", Form.SLACK, b"", frozenset({"m"}), frozenset({"LANE_UNDONE"}))
    (tmp_path / "secret").write_text("whsec_MDEyMzQ1Njc4OWFiY2RlZg==\n")
    assert read_webhooks(file)[0].secret == b"0123456789abcdef"
    file.write_text("")
    assert read_webhooks(file) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[webhook", "Expected"),
        ('[[webhook]]\nname = "a"', r"\[\[webhook\]\] number 1, url: Field required"),
        ('[[webhook]]\nname = "a"\nurl = "ftp://x"', "write https://HOST/PATH, in ASCII"),
        ('[[webhook]]\nname = "a"\nurl = "https://me:pw@x/y"', "without a user"),
        ('[[webhook]]\nname = "a"\nurl = "https://x/a b"', "without blanks"),
        ('[[webhook]]\nname = "a"\nurl = "https://x:99999/y"', r"number 1, url: (?!Value error)"),
        ('[[webhook]]\nname = "A b"\nurl = "https://x"', "number 1, name: "),
        ('[[webhook]]\nname = "a"\nurl = "https://x"\nform = "teams"', "cloudevents"),
        (
            '[[webhook]]\nname = "a"\nurl = "https://x"\nevents = ["ROLLOUT_ROLLBACK"]',
            "there are .*, ROLLOUT_ROLLED",
        ),
        ('[[webhook]]\nname = "a"\nurl = "https://x"\nmodels = ["Chrun!"]', "'Chrun!' is not an id"),
        ('[[webhook]]\nname = "a"\nurl = "https://x"\nmodels = ["Churn"]', "lower-case"),
        (
            '[[webhook]]\nname = "a"\nurl = "https://x"\ncolour = "red"',
            "number 1, colour: is unknown; a file has .* of name, url",
        ),
        ('[[webhook]]\nname = "a"\nurl = "https://x"\n' * 2, "there are two webhooks a"),
        ('[[webhook]]\nname = "a"\nurl = "https://x"\nsecret_file = "SHORT"', "at least 16"),
        (
            '[[webhook]]\nname = "a"\nurl = "https://x"\nsecret_file = "/none/key"',
            "webhook a: secret_file /none/key cannot be read: No such file or directory",
        ),
    ],
)
def test_what_is_no_such_file(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "short").write_text("abc")
    file = tmp_path / "webhooks.toml"
    file.write_text(text.replace("SHORT", str(tmp_path / "short")))
    with pytest.raises(WebhookFileError, match=said) as error:
        read_webhooks(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://[2001:db8::1]/hook", ("2001:db8::1", 80)),
        ("http://[2001:db8::1]:9000/hook", ("2001:db8::1", 9000)),
        ("https://[2001:db8::1]/hook", ("2001:db8::1", 443)),
        ("https://example.com/hook", ("example.com", 443)),
    ],
)
def test_the_end_of_an_address_is_no_port(url: str, place: tuple[str, int]) -> None:
    tls = ssl.create_default_context() if url.startswith("https") else None
    connection = _connection(urlsplit(url), tls)
    assert (connection.host, connection.port) == place
