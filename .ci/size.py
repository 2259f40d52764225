"""Compares the size and the imports of the project with their budgets: exit status 1 over one.

python .ci/size.py [-v] [CLONE]

-v lists each file's lines of code and of docstrings. Neither includes blanks and comments.
"""

from __future__ import annotations

import ast
import graphlib
import io
import sys
import tokenize
from pathlib import Path

NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


class Module:
    """A Python file: its lines, its functions with their lines of code, and what it imports."""

    def __init__(self, path: Path, root: Path) -> None:
        text = path.read_text(encoding='utf-8')
        parts = path.relative_to(root).with_suffix('').parts
        self.is_door = parts[-1] == '__init__'
        self.name = '.'.join(parts[:-1] if self.is_door else parts)
        nodes = list(ast.walk(ast.parse(text)))
        docs, self.imports = set(), set()
        for node in nodes:
            if isinstance(node, DOCUMENTED) and ast.get_docstring(node):
                docs |= lines(node.body[0])
            elif isinstance(node, ast.Import):
                self.imports |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                self.imports |= {f'{node.module}.{alias.name}' for alias in node.names}
        code = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in NO_CODE and token.string:
                code |= set(range(token.start[0], token.end[0] + 1)) - docs
        blank = {n for n, line in enumerate(text.splitlines(), 1) if not line.strip()}
        self.total, self.code, self.docs = len(text.splitlines()), len(code), len(docs - blank)
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
        self.functions = [(len(code & lines(f)), f'{self.name}.{f.name}') for f in functions]


def lines(node: ast.stmt) -> set[int]:
    """Returns the numbers of the lines of a statement."""
    return set(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def check_imports(modules: list[Module]) -> tuple[tuple[str, ...], list[str]]:
    """Returns the longest chain of imports that begins at train_mnist, and what is wrong."""
    graph: dict[str, set[str]] = {module.name: set() for module in modules}
    wrong = []
    for module in modules:
        name = f'{module.name}.'
        for target in sorted(module.imports):
            while target not in graph and target:
                target = target.rpartition('.')[0]  # from a function to its module
            folder = target.rpartition('.')[0]
            if target not in ('', 'chainer_mnist') and not name.startswith(f'{target}.'):
                graph[module.name].add(target)
                if folder.count('.') and not name.startswith(f'{folder}.'):
                    wrong.append(f'{module.name} imports {target} past the door of its folder')
                if name.startswith('chainer_mnist.') and '.' not in target:
                    wrong.append(f'{module.name} imports the script {target}')
    chains: dict[str, tuple[str, ...]] = {}
    try:
        for name in graphlib.TopologicalSorter(graph).static_order():
            below = max((chains[each] for each in sorted(graph[name])), key=len, default=())
            chains[name] = (name, *below)
    except graphlib.CycleError as error:
        wrong.append('circle of imports: ' + ' < '.join(error.args[1]))
    return chains.get('train_mnist', ()), wrong


def main(clone: Path, verbose: bool) -> bool:
    """Prints the table. Returns whether something is over its budget."""
    patterns = ['*.py', 'chainer_mnist/**/*.py', 'tests/**/*.py', 'benchmarks/**/*.py']
    scripts, package, tests, benchmarks = (
        [Module(path, clone) for path in sorted(clone.glob(pattern))] for pattern in patterns
    )
    everything = scripts + package + tests + benchmarks
    if verbose:
        print(*(f'{each.code:5} {each.docs:5} {each.name}' for each in everything), sep='\n')
    [script] = [module for module in scripts if module.name == 'train_mnist']
    modules = [module.name for module in package if not module.is_door]
    functions = sorted(each for module in everything for each in module.functions)
    [main_size] = [size for size, name in functions if name == 'train_mnist.main']
    functions.remove((main_size, 'train_mnist.main'))
    chain, wrong = check_imports(scripts + package)
    rows = [
        ('package: lines of code', sum(each.code for each in package), 2030),  # the goal: 1,400
        ('package: lines of docstrings', sum(each.docs for each in package), 600),
        ('package: lines in all', sum(each.total for each in package), 2970),  # and 2,600
        ('package: modules', len(modules), 24),
        ('package: modules outside its folders', sum(m.count('.') == 1 for m in modules), 12),
        ('tests: lines of code', sum(each.code for each in tests), 3850),  # the goal: 3,800
        ('benchmarks: lines of code', sum(each.code for each in benchmarks), 500),
        ('train_mnist.py: lines in all', script.total, 180),
        ('train_mnist.main: lines of code', main_size, 75),
        (f'longest other function: {functions[-1][1]}', functions[-1][0], 50),
        ('longest chain of imports from train_mnist', len(chain), 7),
        ('wrong imports', len(wrong), 0),
    ]
    print(f'{"what":60} {"now":>5} budget')
    for what, now, budget in rows:
        print(f'{what:60} {now:5} {budget:6}{" OVER" if now > budget else ""}')
    print('The chain: ' + ' > '.join(chain), *wrong, sep='\n')
    return any(now > budget for _, now, budget in rows)


if __name__ == '__main__':
    older = [Path(arg) for arg in sys.argv[1:] if arg != '-v']
    over = main([*older, Path(__file__).resolve().parent.parent][0], '-v' in sys.argv)
    sys.exit(over and not older)  # an older clone is only measured
