"""What is asked of a version, gate by gate: each holds its evidence, and says what is shown."""
