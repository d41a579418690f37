"""What webhooks have yet to be told, as a person reads it."""

from crossfade.cli.render.tables import webhooks_table
from crossfade.registry.v1.resources_pb2 import Delivery, Event, Webhook

NOW = 1_700_000_000.0


def test_a_backlog_is_counted_up_to_a_thousand() -> None:
    said = [webhooks_table([Webhook(name="chat", undelivered=number)], NOW).plain for number in (999, 1_000)]
    assert [one.splitlines()[1].split("all ")[-1].strip() for one in said] == ["999", "1,000 or more"]


def test_what_was_tried_and_what_waits() -> None:
    hook = Webhook(name="chat", host="https://x.example", form="slack", undelivered=2)
    for sequence, attempts, error in ((4, 6, "HTTP 400"), (5, 0, "")):
        event = Event(model="m", sequence=sequence, type="LANE_UNDONE")
        one = Delivery(event=event, attempts=attempts, error=error)
        one.next_time.FromSeconds(int(NOW) + 90)
        hook.deliveries.append(one)
    refused, waiting = webhooks_table([hook], NOW).plain.splitlines()[-2:]
    assert " ".join(refused.split()) == "m 4 lane undone tried 6 times again in 1 min 30 s or later HTTP 400"
    assert " ".join(waiting.split()) == "m 5 lane undone not tried yet"
