#!/usr/bin/env python
"""Makes the notebooks of the lesson from its pages, and runs them.

python docs/notebooks.py    writes docs/tutorial*.ipynb, and the pictures that they draw, in docs/

Jupytext splits the pages into cells:

- Code with prompts is run. What the page prints below is left out: the notebook has its own output.
- Code of the files is shown. A command of ``train_mnist.py`` followed by its output is run.
- A picture is shown as the output of a cell, unless it follows code, which then draws it.
"""

from __future__ import annotations

import doctest
import re
import shutil
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

DOCS = Path(__file__).resolve().parent
PAGES = ('tutorial.md', 'tutorial.zh-CN.md')
FOLDERS = ('chainer_mnist', 'data', 'docs', 'packaging')
FILES = ('train_mnist.py', 'net.py', 'requirements.txt')
BY_THE_RUN = ('loss.png', 'accuracy.png')  # pictures that train_mnist.py draws
BLOCK = re.compile(r'^```(\w*)\n(.*?)^```\n', re.M | re.S)
PICTURE = re.compile(r'^!\[.*\]\((.*)\)$', re.M)
COMMENTS = {
    'tutorial.md': 'in Colab: the address of this repository, as for git clone',
    'tutorial.zh-CN.md': '在 Colab 中填写 git clone 所用的仓库地址',
}
SETUP = """```python
import importlib.util, os
from IPython.display import SVG, Image

REPOSITORY = ''  # {}
if REPOSITORY and not os.path.exists('clone'):
    !git clone -q --depth 1 {{REPOSITORY}} clone
for folder in ('clone', '..'):
    if not os.path.exists('train_mnist.py') and os.path.exists(f'{{folder}}/train_mnist.py'):
        os.chdir(folder)
if importlib.util.find_spec('chainer') is None:
    %pip install -q -r requirements.txt
%config InlineBackend.figure_format = 'retina'
```

"""


def make_notebook(page: str) -> nbformat.NotebookNode:
    """Makes the notebook of a page, without outputs."""
    prose, *rest = BLOCK.split((DOCS / page).read_text(encoding='utf-8'))
    text = SETUP.format(COMMENTS[page]) + _show_pictures(prose)
    blocks = list(zip(rest[::3], rest[1::3], rest[2::3]))
    while blocks:
        language, code, prose = blocks.pop(0)
        is_command = not language and code.startswith('python train_mnist.py')
        if is_command and blocks and not blocks[0][0] and not prose.strip():
            _, _, prose = blocks.pop(0)  # the output
            text += f'```python\n{_call(code)}```\n'
        elif language == 'pycon':
            text += '\n'.join(f'```python\n{cell}```\n' for cell in _cells(code))
            prose = PICTURE.sub('', prose, 1) if prose.startswith('\n![') else prose
        else:
            text += f'```{language}{" .noeval" * bool(language)}\n{code}```\n'
        text += _show_pictures(prose)
    text = re.sub(r'<details><summary>(.*)</summary>', r'**\1**', text).replace('</details>\n', '')
    notebook = jupytext.reads(text, 'md')
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f'cell-{number}', {}
        cell.source = cell.source.replace(' .noeval\n', '\n')
    kernel = {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}
    notebook.metadata = {'kernelspec': kernel, 'language_info': {'name': 'python'}}
    return notebook


def _cells(code: str) -> list[str]:
    """Splits code with prompts after each output: a cell shows the value of its last line only."""
    cells = ['']
    for example in doctest.DocTestParser().get_examples(code):
        cells[-1] += example.source
        if example.want:
            cells.append('')
    return [cell for cell in cells if cell]


def _call(command: str) -> str:
    """Turns a command into a call, which needs neither a shell nor the right Python in its path."""
    words = command.split('train_mnist.py')[1].strip()
    return f"import train_mnist\ntrain_mnist.main('{words}'.split());\n"


def _show_pictures(prose: str) -> str:
    def cell(match: re.Match) -> str:
        name = match.group(1)
        folder = 'result' if name in BY_THE_RUN else 'docs'
        show = f"SVG('{folder}/{name}')"
        if name.endswith('.png'):
            show = f"Image('{folder}/{name}', width=640)"
        return f'```python\n{show}\n```'

    return PICTURE.sub(cell, prose)


def run(notebook: nbformat.NotebookNode, clone: Path) -> None:
    """Runs a notebook in a copy of the clone, which it makes. Raises an error if a cell does."""
    for name in FOLDERS:
        shutil.copytree(DOCS.parent / name, clone / name)
    for name in FILES:
        shutil.copy(DOCS.parent / name, clone)
    (clone / 'result').mkdir()
    place = {'metadata': {'path': str(clone / 'docs')}}
    client = NotebookClient(notebook, timeout=600, coalesce_streams=True, resources=place)
    client.record_timing = False  # it would change the file each time
    client.execute()


def main() -> None:
    """Writes the notebooks, and the pictures that they draw."""
    for page in PAGES:
        notebook = make_notebook(page)
        with tempfile.TemporaryDirectory() as folder:
            run(notebook, Path(folder))
            for picture in ('images.png', *BY_THE_RUN):
                shutil.copy(Path(folder) / 'result' / picture, DOCS)
        nbformat.write(notebook, (DOCS / page).with_suffix('.ipynb'))


if __name__ == '__main__':
    main()
