"""What people ask: forecasts, replays, what a lane would say of itself, and what a policy would mean."""
