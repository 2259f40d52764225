"""The notebooks of the lesson are made from its pages, and run from top to bottom."""

import re
import runpy

import pytest

from helpers import CLONE, log_of, train

for needed in ('jupytext', 'nbclient', 'ipykernel', 'matplotlib'):
    pytest.importorskip(needed)
nbformat = pytest.importorskip('nbformat')

DOCS = CLONE / 'docs'
NOTEBOOKS = runpy.run_path(str(DOCS / 'notebooks.py'))
PAGES, make_notebook = NOTEBOOKS['PAGES'], NOTEBOOKS['make_notebook']


def outputs_of(notebook):
    return [o for cell in notebook.cells if cell.cell_type == 'code' for o in cell.outputs]


@pytest.mark.parametrize('page', PAGES)
def test_a_stored_notebook_is_that_of_its_page_and_was_run_from_top_to_bottom(page):
    made = make_notebook(page)
    stored = nbformat.read((DOCS / page).with_suffix('.ipynb'), as_version=4)
    nbformat.validate(stored)
    fix = 'run: python docs/notebooks.py'
    assert [c.source for c in stored.cells] == [c.source for c in made.cells], fix
    counts = [c.execution_count for c in stored.cells if c.cell_type == 'code']
    assert counts == [*range(1, len(counts) + 1)], fix
    assert not [
        o for o in outputs_of(stored) if {'error', 'stderr'} & {o.output_type, o.get('name')}
    ]


def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    notebook = make_notebook(PAGES[0])
    NOTEBOOKS['run'](notebook, tmp_path)
    kinds = [kind for o in outputs_of(notebook) for kind in o.get('data', {})]
    # The first images and two curves, the network and the graph
    assert (kinds.count('image/png'), kinds.count('image/svg+xml')) == (3, 2)
    printed = ''.join(o.text for o in outputs_of(notebook) if o.output_type == 'stream')
    assert printed.count('train mean loss=') == 20
    assert len(log_of(tmp_path / 'result')) == 20


def test_the_log_of_the_lesson_is_that_of_a_run_and_gives_the_answer(monkeypatch):
    text = (DOCS / 'tutorial.md').read_text(encoding='utf-8')
    rows = re.findall(r'^\| \d+ ' + r'\| (0\.\d{4}) ' * 4 + r'\| 0\.\d+ \| 0\.\d+ \|$', text, re.M)
    losses = [float(test_loss) for _, _, test_loss, _ in rows]
    assert len(losses) == 20
    assert f'lowest in epoch {losses.index(min(losses)) + 1} ({min(losses)})' in text

    monkeypatch.delenv('CHAINER_DATASET_ROOT')
    train('-e', 1, '-s', 1)
    [record] = log_of('result')
    # Floating-point results vary slightly between CPUs.
    assert list(record.values())[:4] == pytest.approx([float(n) for n in rows[0]], abs=0.005)
