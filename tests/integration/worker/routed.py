"""Routes of a Router to versions that a real Worker serves."""

from collections.abc import Mapping
from typing import Any

from crossfade.registry.v1 import resources_pb2
from router.app import App as Router
from tests.fakes.registry import FakeRegistry, lane
from tests.support.wait import until


async def route(registry: FakeRegistry, router: Router, arms: Mapping[str, Any]) -> None:
    """Routes equal parts of the calls of `scores` to each arm's version, where it is served, and waits until the Router
    does.
    """
    test = arms["test"].version if "test" in arms else ""
    routes = lane("scores", *arms.values(), test=test)
    for arm, version in arms.items():
        serving = registry.serving("scores", version.version)
        assert serving is not None
        endpoint = resources_pb2.Endpoint(instance_id="w", address=serving.address)
        next(one for one in routes.wanted if one.version == version.version).endpoints.append(endpoint)
        routes.arms.add(arm=arm, version=version.version, share_bps=10_000 // len(arms), endpoints=[endpoint])
    await registry.set_lanes(routes)
    await until(lambda: any(one.arms for one in router.proxy.table.lanes.values()))
