"""The Evaluator: compares a test version with the stable one and decides on its rollout."""
