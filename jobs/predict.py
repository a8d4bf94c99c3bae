"""Map a scene on a cluster; takes the options of `st-ray predict`.

ray job submit --working-dir . -- python jobs/predict.py s3://bucket/run /data/scene.tif --out URI

The scene must be on storage that every node reaches; the model need not be.
"""

from st_ray.cli import predict, run_command

if __name__ == "__main__":
    run_command(predict)
