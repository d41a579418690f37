"""The commands, by what they are about: arguments and options."""

from crossfade.cli.commands import evaluator, lane, look, predict, publish, rollout, setup, webhooks

__all__ = ["evaluator", "lane", "look", "predict", "publish", "rollout", "setup", "webhooks"]
