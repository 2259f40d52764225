"""Checks the script on a GPU, and writes a report to send in.

python benchmarks/gpu.py           in a virtual environment of its own: gpu-report/venv
python benchmarks/gpu.py --here    with the packages that are installed

It installs the requirements, CuPy and PyTorch (some gigabytes), trains, resumes on another device,
runs the tests for GPUs, and measures the training loop beside PyTorch's, in about 15 minutes.
The report, gpu-report/report.md, has the versions, the hardware, the results and the figures, and
nothing else about the machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / 'gpu-report'
PACKAGES = r'^(?:chainer|cupy|mpi4py|numpy|nvidia|torch)[\w-]* .*$'
TRAIN = 'train_mnist.py --noplot -s 1'

# If the first fails, the others are not tried.
STEPS = {
    'train on the GPU': f'{TRAIN} -g 0 -e 2 -o gpu-report/gpu',
    'train on the CPU': f'{TRAIN} -e 2 -o gpu-report/cpu',
    'from the GPU to the CPU': f'{TRAIN} -e 1 -r gpu-report/gpu/mlp.state -o gpu-report/a',
    'from the CPU to the GPU': f'{TRAIN} -e 1 -r gpu-report/cpu/mlp.state -g 0 -o gpu-report/b',
    'predict on the GPU': 'predict.py -g 0 -m gpu-report/gpu/mlp.model --noplot',
    'tests': '-m pytest -m gpu -rs tests/test_devices.py',
    'throughput': 'benchmarks/throughput.py --gpu 0',
}

FORM = """## {result}: Chainer on a GPU

- machine: {machine}
- GPU, driver, memory: {gpu}
- Python {python}

```
{packages}
```
{steps}"""


def hardware() -> str:
    """Returns name, driver and memory of each GPU."""
    query = ['nvidia-smi', '--query-gpu=name,driver_version,memory.total', '--format=csv,noheader']
    try:
        found = subprocess.check_output(query, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        sys.exit('gpu.py: error: nvidia-smi finds no GPU; install the driver of an NVIDIA GPU')
    return found.replace('\n', '; ')


def install() -> str:
    """Makes a virtual environment with all that is needed. Returns the path of its Python."""
    venv.create(WORK / 'venv', with_pip=True)
    python = str(WORK / 'venv' / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python'))
    files = ['-r', 'requirements-dev.txt', '-r', 'requirements-gpu.txt']
    if subprocess.run([python, '-m', 'pip', 'install', *files, 'torch'], cwd=ROOT).returncode:
        sys.exit('gpu.py: error: pip fails; see above, or install by hand and add --here')
    return python


def run(python: str, command: str) -> tuple[bool, str]:
    """Runs a step and shows what it prints. Returns whether it passed, and that.

    Tests that are all skipped have not passed.
    """
    print('\n$ python', command, flush=True)
    words = [python, *command.split()]
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    printed = []
    assert process.stdout
    for line in process.stdout:
        print(line, end='', flush=True)
        printed.append(line)
    skipped = 'pytest' in command and not re.search(r'\d passed', printed[-1] if printed else '')
    return process.wait() == 0 and not skipped, ''.join(printed)


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--here', action='store_true', help='use the installed packages')
    args = parser.parse_args()
    gpu = hardware()
    WORK.mkdir(exist_ok=True)
    python = sys.executable if args.here else install()
    packages = subprocess.check_output([python, '-m', 'pip', 'list'], text=True)
    passed, steps = [], ''
    for name, command in STEPS.items():
        good, printed = run(python, command)
        passed.append(good)
        result = 'passed' if good else 'FAILED'
        steps += f'\n### {name}: {result}\n\n```\n$ python {command}\n{printed}```\n'
        if not passed[0]:
            break
    report = FORM.format(
        result='passed' if all(passed) else 'FAILED',
        machine=f'{platform.platform()}, {os.cpu_count()} cores',
        gpu=gpu,
        python=platform.python_version(),
        packages='\n'.join(re.findall(PACKAGES, packages, re.M | re.I)),
        steps=steps,
    )
    report = report.replace(str(ROOT), '.').replace(str(Path.home()), '~')
    (WORK / 'report.md').write_text(report, encoding='utf-8')
    print('\nThe report is in', WORK / 'report.md')
    return 0 if all(passed) else 1


if __name__ == '__main__':
    sys.exit(main())
