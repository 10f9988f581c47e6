"""Replay recordings through the keeper's own decisions, against a simulated chain and option book."""
