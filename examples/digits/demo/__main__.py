"""`python -m examples.digits.demo --seed 0`: the whole life of a model; writes demo-report.json."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from rich.console import Console

from crossfade.artifact import Artifact
from crossfade.client import AsyncClient
from crossfade.connection import open_aio_channel
from crossfade.policy_file import load_policy
from crossfade.registry.v1 import service_pb2
from examples.digits.data import held_out
from examples.digits.demo.report import Report
from examples.digits.demo.run import MODEL, Run
from examples.digits.demo.screen import Screen
from examples.digits.demo.traffic import Traffic
from examples.digits.train import package_module, train_versions
from services.local.stack import Ports, Stack, StackOptions

_POLICY: Final = Path(__file__).with_name("policy.yaml")


def main() -> int:
    """Runs the demo; 0 when every outcome was the expected one and no call failed or was lost."""
    parser = argparse.ArgumentParser(prog="python -m examples.digits.demo", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the data's split, the training and the traffic")
    parser.add_argument("--rate", type=float, default=400.0, help="Predict calls per second (default 400)")
    parser.add_argument("--report", type=Path, default=Path("demo-report.json"), help="where the report is written")
    parser.add_argument("--data", type=Path, help="keep the services' data and logs in this folder")
    arguments = parser.parse_args()
    arguments.report.unlink(missing_ok=True)
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="crossfade-demo-") as temporary:
        folder = arguments.data or Path(temporary)
        report = asyncio.run(_demo(arguments.seed, arguments.rate, folder, console))
    report.write(arguments.report)
    console.print(f"[dim]written to {arguments.report}[/]")
    return 0 if report.ok else 1


async def _demo(seed: int, rate: float, folder: Path, console: Console) -> Report:
    screen = Screen(console)
    screen.say(f"the rollouts' policy ({_POLICY.name}):")
    screen.policy(_POLICY.read_text())
    screen.say("six small models are trained on scikit-learn's handwritten digits …")
    training = asyncio.create_task(asyncio.to_thread(_artifacts, seed, folder / "versions"))
    ports = Ports.free()
    async with Stack(StackOptions(folder / "data", ports, say=screen.say)):
        artifacts = await training
        return await _play(seed, rate, ports, artifacts, screen)


async def _play(seed: int, rate: float, ports: Ports, artifacts: Mapping[str, Artifact], screen: Screen) -> Report:
    document = load_policy(_POLICY)
    spec = service_pb2.RolloutSpec(plan=document.plan, policy=document.policy)
    started = time.monotonic()
    async with (
        open_aio_channel(ports.address("registry"), None) as registry,
        AsyncClient(ports.address("router")) as client,
    ):
        traffic = Traffic(client, MODEL, held_out(seed), rate, seed)
        run = Run(registry, artifacts, spec, traffic, screen.show)
        with screen.live(traffic):
            reports = [await run.first()]
            await _until_answered(client, seed)
            flow = asyncio.create_task(traffic.run())
            try:
                reports.extend(await run.chapters())
            finally:
                traffic.stop()
                await flow
        report = Report(seed, time.monotonic() - started, tuple(reports), traffic.tally)
    screen.table(report)
    return report


async def _until_answered(client: AsyncClient, seed: int) -> None:
    """The Router has the first version's route a moment after the Registry has it ready."""
    images, _ = held_out(seed)
    async with asyncio.timeout(30):
        while True:
            with suppress(Exception):
                await client.predict(MODEL, images[:1], timeout=1.0)
                return
            await asyncio.sleep(0.1)


def _artifacts(seed: int, folder: Path) -> dict[str, Artifact]:
    folder.mkdir(parents=True, exist_ok=True)
    return {name: package_module(module, seed, folder / name) for name, module in train_versions(seed).items()}


if __name__ == "__main__":
    sys.exit(main())
