"""How the processes of a Worker speak with one another."""
