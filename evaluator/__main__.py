"""`python -m evaluator`: one Evaluator, with its settings from the environment (CROSSFADE_…)."""

from evaluator.app import App
from evaluator.settings import EvaluatorSettings
from services.common.process import run


def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    run("evaluator", EvaluatorSettings, App)


if __name__ == "__main__":
    main()
