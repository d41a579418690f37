"""The commands, by what they are about: arguments and options."""

from crossfade.cli.commands import artifact, evaluator, lane, look, predict, publish, rollout, setup, webhooks

__all__ = ["artifact", "evaluator", "lane", "look", "predict", "publish", "rollout", "setup", "webhooks"]
