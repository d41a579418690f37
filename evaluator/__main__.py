"""`python -m evaluator`: one Evaluator until SIGTERM or SIGINT."""

import asyncio
import sys

from pydantic import ValidationError

from evaluator.app import App
from evaluator.settings import EvaluatorSettings
from services.common.server import AddressError, run_until_signal


async def _serve() -> None:
    app = App(EvaluatorSettings())
    await run_until_signal(app.start, app.stop)


def main() -> int:
    """Runs the service; the exit code says whether it could."""
    try:
        asyncio.run(_serve())
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"]).upper()
            sys.stderr.write(f"error: CROSSFADE_{name}: {problem['msg']}\n")
        return 1
    except (AddressError, OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
