"""Snapshots of Chainer's Trainer: where they keep what a training state keeps."""

import re

# An optimizer and its model have one name there: main, unless the program gave it another.
OPTIMIZER = re.compile('updater/optimizer:([^/]+)/')
EPOCH = 'updater/iterator:main/epoch'
ENDS_EPOCH = 'updater/iterator:main/is_new_epoch'
LOG = 'extensions/LogReport/_log'


def keys(names):
    """Looks up under which names the arrays of model and optimizer are.

    Args:
        names (iterable): The names of all arrays in a file.

    Returns:
        dict: The names by the keys that a training state by this project has. They are the same,
        but in a snapshot of the Trainer.

    """
    optimizers = {match[1] for match in map(OPTIMIZER.match, names) if match}
    main = optimizers.pop() if len(optimizers) == 1 else 'main'
    found = {
        name[len(part) :]: name
        for part in (f'updater/model:{main}/', f'updater/optimizer:{main}/')
        for name in names
        if name.startswith(part)
    }
    if not found:
        return {name: name for name in names}
    # Old releases of the Trainer do not tell the optimizer of its epochs.
    return {**found, 'epoch': EPOCH} if EPOCH in names else found
