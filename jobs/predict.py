"""Map a scene on a cluster; takes the options of `st-ray predict`.

ray job submit --working-dir . -- python jobs/predict.py s3://bucket/run /data/scene.tif --out URI

The scene must be on storage that every node reaches; the model need not be.
"""

import typer

from st_ray.cli import predict, run_app

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None)
app.command()(predict)

if __name__ == "__main__":
    run_app(app)
