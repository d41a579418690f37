"""The evidence of a rollout: a pure fold over its recorded windows."""
