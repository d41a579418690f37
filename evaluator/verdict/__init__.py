"""What follows from the evidence, as an action and in words."""
