"""Search for a schedule on a cluster; takes the options of `st-ray search`.

    ray job submit --working-dir . -- python jobs/search.py --backbone ssftt --out DIR

DIR must be on storage that every node reaches.
"""

import typer

from st_ray.cli import run_app, search

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None)
app.command()(search)

if __name__ == "__main__":
    run_app(app)
