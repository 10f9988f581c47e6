"""Operator settings and protocol bindings: read once, validated, frozen."""
