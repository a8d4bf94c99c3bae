"""Search for a schedule on a cluster; takes the options of `st-ray search`.

    ray job submit --working-dir . -- python jobs/search.py --backbone ssftt --out DIR

DIR must be on storage that every node reaches.
"""

from st_ray.cli import run_command, search

if __name__ == "__main__":
    run_command(search)
