"""Services of Crossfade that share one machine or one library."""
