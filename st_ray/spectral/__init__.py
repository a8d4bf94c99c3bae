"""Scenes, splits, tiles, statistics and bases: numpy and file readers; no torch, no ray."""
