"""Where counts come from: the processes themselves, or a Prometheus server."""
