"""Write patches on a cluster; takes the options of `st-ray prepare`.

ray job submit --working-dir . -- python jobs/prepare.py indian_pines --out s3://bucket/patches
"""

import typer

from st_ray.cli import prepare, run_app

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None)
app.command()(prepare)

if __name__ == "__main__":
    run_app(app)
