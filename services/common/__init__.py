"""What every process of Crossfade shares."""
