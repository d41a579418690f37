"""Many rollouts one after another on one suite: does every one end as it should, and does anything grow?"""
