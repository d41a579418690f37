"""Publications by the command: what they come to, how they are waited for, and what is refused."""

import asyncio
import socket
import threading
from pathlib import Path

from tests.integration.cli.conftest import Command, Json
from tests.integration.cli.stack import Stack
from tests.support.wait import until


def test_the_first_version_is_stable_at_once(crossfade: Command, crossfade_json: Json, artifact: Path) -> None:
    said = crossfade("publish", "first", str(artifact), "--description", "the first").stdout
    assert said == (
        "v1 published; it is STABLE at once, as the first version of first.\n"
        "It answers as soon as a worker has it ready: crossfade status first\n"
    )
    assert "first   " in crossfade("models").stdout
    table = crossfade("versions", "first").stdout.splitlines()
    assert table[0].split() == ["version", "state", "published", "by", "size", "description"]
    assert table[1].startswith("v1       STABLE")
    assert table[1].endswith("the first")
    version = crossfade_json("versions", "show", "first", "v1")
    assert version["signature"]["classes"] == ["low", "middle", "high"]
    assert version["artifact"]["uri"] == artifact.resolve().as_uri()
    assert crossfade("explain", "first").stdout == (
        "first has had no rollout: v1 became stable at once, as the first version.\n"
    )
    assert "ana" in crossfade("events", "first").stdout


def test_a_later_version_gets_a_rollout_and_the_next_one_waits(
    crossfade: Command, stack: Stack, artifact: Path
) -> None:
    crossfade("publish", "later", str(artifact))
    stack.report("later", "v1")
    said = crossfade("publish", "later", str(artifact), "--share", "10%", "--period", "5m").stdout
    assert said.startswith("v2 published; rollout 1 gives it 10 % of the requests, as soon as a worker has it ready.\n")
    said = crossfade("publish", "later", str(artifact), "--version", "next").stdout
    assert said == "next published; it waits for rollout 1 (v2, 10 %) and starts by itself.\n"
    said = crossfade("publish", "later", str(artifact), "--without-rollout").stdout
    assert said == ("v4 published; it is PENDING and gets no requests.\nStart its rollout: crossfade start later v4\n")
    both = crossfade("publish", "later", str(artifact), "--without-rollout", "--share", "5%", code=2)
    assert both.stderr.startswith("error: ")


def test_a_plan_that_cannot_conclude_in_its_period_is_told_so_at_once(
    crossfade: Command, stack: Stack, artifact: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "errors.yaml"
    policy.write_text("gates: [{metric: errors, required: true}]\n")
    crossfade("publish", "hurried", str(artifact))
    stack.report("hurried", "v1")
    # 50 calls a reading, of which a hundredth shows nothing in two minutes, and half of them all in a week.
    short = "--share", "1%", "--period", "2m", "--policy", str(policy)
    long = "--share", "50%", "--period", "7d", "--policy", str(policy)
    told = "At the traffic seen now it cannot conclude in its period: it needs --period "
    said = crossfade("publish", "hurried", str(artifact), *short)
    assert said.stdout.startswith("v2 published; rollout 1 gives it 1 % of the requests")
    assert said.stderr.startswith(told)
    for options, notes in ((short, told), (long, "")):
        crossfade("abort", "hurried")
        assert crossfade("start", "hurried", "v2", *options).stderr.partition(told)[1] == notes
    # What nobody counts is waited for in vain, however long.
    crossfade("abort", "hurried")
    said = crossfade("publish", "hurried", str(artifact), "--period", "7d")
    assert "it cannot conclude in its period: nothing that runtime counts was seen." in said.stderr


def test_what_is_refused_is_said_in_the_words_of_the_options(crossfade: Command, running: str, artifact: Path) -> None:
    said = crossfade("publish", running, str(artifact), "--plan", "5%:10s", code=2).stderr
    assert said.startswith(
        "error: --plan, step 1: period is wrong: the step's period is 10s and settling 30s, and nothing is judged "
    )
    assert "write a period of 2m or more" in said
    said = crossfade("publish", running, str(artifact), "--plan", "5%:10m,1%", code=2).stderr
    assert said == (
        "error: --plan, step 2: share is wrong: 100 basis points (1 %) is less than the step before has, "
        "500 basis points (5 %)\n"
    )
    said = crossfade("publish", running, str(artifact), "--segment", "E U", code=2).stderr
    assert said.startswith("error: segment 'E U' is not an id")


def test_a_first_version_is_waited_for_until_it_is_routed_to(crossfade: Command, stack: Stack, artifact: Path) -> None:
    def load() -> None:
        asyncio.run(until(lambda: stack.has("routed", "v1")))
        stack.report("routed", "v1")

    stack.routes.behind = 1
    worker = threading.Thread(target=load)
    worker.start()
    said = crossfade("publish", "routed", str(artifact), "--wait", "--timeout", "20s")
    worker.join()
    assert said.stderr.splitlines()[-2:] == [
        f"v1 is ready; {stack.router} does not route to it yet",
        f"v1 answers at {stack.router}",
    ]


def test_a_first_version_that_no_router_says_it_routes_to_is_no_good_outcome(
    crossfade: Command, stack: Stack, artifact: Path
) -> None:
    def load() -> None:
        asyncio.run(until(lambda: stack.has("unrouted", "v1")))
        stack.report("unrouted", "v1")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    worker = threading.Thread(target=load)
    worker.start()
    said = crossfade("publish", "unrouted", str(artifact), "--wait", "--timeout", "20s", "--router", nobody, code=3)
    worker.join()
    assert said.stdout.startswith("v1 published; it is STABLE at once")
    assert said.stderr.splitlines()[-1] == (
        f"error: v1 is ready; at the Router: nothing answers at {nobody}. Is `crossfade up` running? "
        "(--router or CROSSFADE_ROUTER set another address)"
    )


def test_a_wait_ends_with_the_outcome(crossfade: Command, stack: Stack, artifact: Path) -> None:
    crossfade("publish", "waited", str(artifact))
    stack.report("waited", "v1", "v2")
    late = crossfade("publish", "waited", str(artifact), "--wait", "--timeout", "1s", code=1)
    assert "error: not decided after 1 s: rollout 1: v2 RUNNING" in late.stderr
