"""All services on one machine: `crossfade up`."""
