"""Write patches on a cluster; takes the options of `st-ray prepare`.

ray job submit --working-dir . -- python jobs/prepare.py indian_pines --out s3://bucket/patches
"""

from st_ray.cli import prepare, run_command

if __name__ == "__main__":
    run_command(prepare)
