"""The only part of st_ray that imports ray."""
