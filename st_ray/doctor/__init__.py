"""What would make a score a lie: a scene looked over before a run, and splits held to account."""
