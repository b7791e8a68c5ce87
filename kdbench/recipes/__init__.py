"""Shipped recipes, as TOML files."""
