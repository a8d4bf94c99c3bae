"""Run a benchmark on a cluster; takes the options of `st-ray bench`.

    ray job submit --working-dir . -- python jobs/bench.py training --backbone all --out URI

It measures in processes of one machine, the one that the job's driver runs on.
"""

from st_ray.bench.command import bench
from st_ray.cli import run_app

if __name__ == "__main__":
    run_app(bench)
