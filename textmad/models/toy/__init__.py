"""Toy distributions whose collapse has a closed form; they go through the same loop."""
