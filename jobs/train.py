"""Train on a cluster; takes the options of `st-ray train`.

    ray job submit --working-dir . -- python jobs/train.py indian_pines --workers 2 --out URI

URI is s3://bucket/run or the like, or a path that every node reaches.
"""

from st_ray.cli import run_command, train

if __name__ == "__main__":
    run_command(train)
