"""`st-ray predict`: a scene of any size to a map on disk, by a bundle alone."""
