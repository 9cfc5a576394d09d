"""The graph: golden → base → manifest → image → burn. `doit list` shows it, `doit image:<node>` walks it.

Names and edges only. What a task does is a method of `pipeline.graph.tasks.Tasks`, when it need not is one of
`pipeline.graph.checks.Checks`; what it leaves are small files, and those are what the next task depends on.
"""

from pipeline.graph.doit_setup import BURN_PARAMS, UNCAPTURED, doit_config, load_tasks

tasks = load_tasks()
lab, files, checks = tasks.lab, tasks.artifacts, tasks.checks
DOIT_CONFIG = doit_config(lab)


def task_overlay():
    """list the files of each overlay, with their hashes"""
    for folder in lab.overlays:
        yield {
            "name": folder,
            "targets": [files.overlay(folder)],
            "uptodate": [checks.overlay_unchanged(folder)],
            "actions": [(tasks.list_overlay, [folder])],
            "io": UNCAPTURED,
        }


def task_class():
    """resolve each class: its golden's source, and what goes into its base"""
    for name in lab.classes:
        yield {
            "name": name,
            "file_dep": checks.class_inputs(name),
            "targets": [files.golden_source(name), files.base_manifest(name)],
            "uptodate": [
                checks.image_choice_unchanged(name),
                checks.class_as_resolved(name),
            ],
            "actions": [(tasks.resolve_class, [name])],
            "io": UNCAPTURED,
        }


def task_golden():
    """fetch each class's golden image into the cache and verify it"""
    for name in lab.classes:
        yield {
            "name": name,
            "file_dep": [files.golden_source(name)],
            "targets": [files.golden_receipt(name)],
            "uptodate": [checks.as_left(files.golden_receipt(name)), checks.keyring_as_it_was(name)],
            "actions": [(tasks.fetch_golden, [name])],
            "io": UNCAPTURED,
        }


def task_base():
    """unpack each golden, make room in it, lay the class's files over it"""
    for name in lab.classes:
        yield {
            "name": name,
            "file_dep": [files.golden_receipt(name), files.base_manifest(name)],
            "targets": [files.base(name)],
            "uptodate": [checks.base_is_current(name)],
            "actions": [(tasks.make_base, [name])],
            "io": UNCAPTURED,
        }


def task_manifest():
    """resolve and render each node: every file, link, removal and edit that it needs"""
    for name in lab.nodes:
        yield {
            "name": name,
            "file_dep": checks.node_inputs(name),
            "targets": [files.manifest(name)],
            "uptodate": [checks.no_conflict(name), checks.manifest_as_rendered(name)],
            "actions": [(tasks.render_manifest, [name])],
            "io": UNCAPTURED,
        }


def task_image():
    """copy the base and put the node's manifest into the copy: artifacts/<node>.img"""
    for name in lab.nodes:
        yield {
            "name": name,
            "file_dep": [files.manifest(name)],
            "task_dep": checks.base_of(name),
            "targets": [files.image(name)],
            "uptodate": [checks.image_is_current(name)],
            "actions": [(tasks.make_image, [name])],
            "io": UNCAPTURED,
        }


def task__image_to_burn():
    """the image that a burn waits for, which only its --node tells"""
    return {"actions": [(tasks.image_to_burn,)], "io": UNCAPTURED}


def task_burn():
    """write an image to a card, read it back and compare: --node NODE --device DEVICE --yes"""
    return {
        "params": BURN_PARAMS,
        "calc_dep": ["_image_to_burn"],
        "uptodate": [tasks.burn_request],
        "actions": [(tasks.burn,)],
        "io": UNCAPTURED,
    }
