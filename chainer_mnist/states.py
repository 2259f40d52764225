"""What an optimizer keeps of each parameter, and whether a training state is its own."""

import copy
import inspect

from chainer_mnist.errors import UserError

import chainer
import numpy
from chainer import optimizers


def states_of(optimizer):
    """Says what an optimizer keeps of each parameter.

    Args:
        optimizer (chainer.Optimizer): The optimizer, set up on a model on the CPU.

    Returns:
        dict: By the parameters' keys, what is kept at first: NumPy arrays by their names, or
        ``None`` in their places for a parameter that no call has initialized.

    """
    params = sorted(optimizer.target.namedparams())
    return {name[1:]: _first_state(p.update_rule, p) for name, p in params if p.update_rule}


def _first_state(rule, param):
    if param.array is None:
        return dict.fromkeys(_first_state(rule, chainer.Parameter(numpy.zeros(1, 'f'))))
    rule = copy.copy(rule)
    rule._state = {}
    rule.init_state(param)
    return rule.state


def check_optimizer(stored, states, optimizer):
    """Makes sure that a training state is that of an optimizer, and not of another one.

    Args:
        stored (stored.Stored): The file.
        states (dict): What the optimizer keeps, as of :func:`states_of`, of the parameters that it
            has updated.
        optimizer (chainer.Optimizer): The optimizer.

    Raises:
        UserError: If it is the state of another optimizer.

    """
    ours = {frozenset(names) for names in states.values()}
    theirs = {frozenset(stored.under(key) - {'t'}) for key in states}
    # Where they are not alike, something is missing, and what it is will be said.
    if len(theirs) != 1 or theirs == ours:
        return
    kinds = [name for name, names in _kinds() if {frozenset(names)} == theirs]
    known = f' ({" or ".join(kinds)})' if kinds else ''
    name = type(optimizer).__name__
    raise UserError(
        f'{stored.path} is a state of another optimizer{known}, not of {name}; give one of {name}, '
        'or set up the other one in train_mnist.py',
        near=1,
    )


def _kinds():
    """Chainer's optimizers, and what each keeps of a parameter."""
    param = chainer.Parameter(numpy.zeros(1, 'f'))
    for name, make in sorted(vars(optimizers).items()):
        if inspect.isclass(make) and issubclass(make, chainer.GradientMethod):
            rule = make().create_update_rule()  # type: ignore[attr-defined]
            yield name, set(_first_state(rule, param))
