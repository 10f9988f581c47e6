"""Stages of the keeper: feeds, snapshot, propose, guard, submit, watch, journal."""
