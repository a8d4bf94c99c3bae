"""Readers of cubes, one module for each family of formats; `choose` tells which reads a file."""
