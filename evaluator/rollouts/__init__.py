"""The loop that looks at the rollouts that run."""
