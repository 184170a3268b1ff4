"""``cloudbuster merge``."""

import click

from cloudbuster.cli.flags.common import dryrun_option, tmp_option
from cloudbuster.cli.flags.kinds import ExpertOption, given
from cloudbuster.cli.flags.merge import composite_option, haze_limit_option, self_check_option
from cloudbuster.cli.parsing import Command, needed
from cloudbuster.cli.progress import progress
from cloudbuster.cli.terminal import show


@click.command(cls=Command, short_help="Merge gathered scenes into one mosaic.")
@click.option("--input-path", help="Folder or s3:// prefix of the gathered scenes.")
@click.option("--output-path", help="Folder or s3:// prefix to write to.")
@click.option("--name", help="Base of the file names.")
@dryrun_option
@composite_option
@haze_limit_option
@self_check_option
@click.option(
    "--task", cls=ExpertOption, help="Task document, which takes the place of every other option."
)
@tmp_option
def merge(
    *,
    input_path: str | None,
    output_path: str | None,
    name: str | None,
    dryrun: bool,
    composite: str | None,
    haze_limit_dn: float | None,
    self_check: bool | None,
    task: str | None,
    tmp: str | None,
) -> None:
    """Merge gathered scenes into {name}-cloudless.tif and {name}-cloudy.tif.

    Prints what was made as JSON: where the products are, and what they cover.

    Examples
    --------
    $ cloudbuster merge --input-path scenes/ --output-path mosaic/ --name denver
    """
    from cloudbuster.cli.inputs import checked_name, json_text, use_tmp
    from cloudbuster.gathered.scene_files import find_scenes
    from cloudbuster.inputs.request_files import make_options
    from cloudbuster.merge import MosaicRecipe, merge_scenes
    from cloudbuster.models import MergeOptions, MergeTask
    from cloudbuster.runs.merging import merge_task
    from cloudbuster.runs.task_jobs import TaskJob
    from cloudbuster.storage.files.documents import read_document

    use_tmp(tmp)
    if task:
        with TaskJob(task), progress() as on_event:
            made = merge_task(read_document(task, MergeTask), on_event=on_event)
        show(json_text(made) if made else None)
        return
    scenes = needed(input_path, "--input-path")
    output = needed(output_path, "--output-path")
    name = checked_name(needed(name, "--name"))
    fields = {"composite": composite, "haze_limit_dn": haze_limit_dn, "self_check": self_check}
    options = make_options(MergeOptions, given(fields))
    if dryrun:
        show(json_text([str(scene.path) for scene in find_scenes(scenes, name)]))
        return
    with progress() as on_event:
        recipe = MosaicRecipe(
            name,
            options.composite,
            self_check=options.self_check,
            haze_limit_dn=options.haze_limit_dn,
        )
        result = merge_scenes(scenes, output, recipe, on_event=on_event)
    show(json_text(result))
