"""Curricula, backbones and the training loop: torch; no ray."""
