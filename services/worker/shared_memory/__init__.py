"""What front-ends and engine share: the rows of tensors, and records of who asked for which."""
