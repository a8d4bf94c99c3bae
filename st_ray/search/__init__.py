"""The search for a schedule: `st-ray search`."""
