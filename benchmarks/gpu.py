"""Tries the script on a GPU, and writes a report to send in.

python benchmarks/gpu.py           in a virtual environment of its own: gpu-report/venv
python benchmarks/gpu.py --here    with what is installed

It installs what the script needs, CuPy and PyTorch (some gigabytes), trains, goes on on another
device, runs the tests for GPUs, and measures the training loop beside PyTorch's: about a quarter of
an hour. The report, gpu-report/report.md, has the versions, the hardware, the results and the
figures, and nothing else of the machine.
"""

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

# The first has to go well, or there is no point in the others.
STEPS = {
    'train on the GPU': f'{TRAIN} -g 0 -e 2 -o gpu-report/gpu',
    'train on the CPU': f'{TRAIN} -e 2 -o gpu-report/cpu',
    'from the GPU to the CPU': f'{TRAIN} -e 1 -r gpu-report/gpu/mlp.state -o gpu-report/a',
    'from the CPU to the GPU': f'{TRAIN} -e 1 -r gpu-report/cpu/mlp.state -g 0 -o gpu-report/b',
    'predict on the GPU': 'predict.py -g 0 -m gpu-report/gpu/mlp.model --noplot',
    'tests': '-m pytest -n 0 -m gpu -rs tests/test_devices.py',
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


def hardware():
    """Asks the driver for the GPUs.

    Returns:
        str: Name, driver and memory of each.

    Raises:
        SystemExit: If there is no driver or no GPU.

    """
    query = ['nvidia-smi', '--query-gpu=name,driver_version,memory.total', '--format=csv,noheader']
    try:
        done = subprocess.run(query, capture_output=True, text=True)
    except OSError:
        sys.exit('gpu.py: there is no nvidia-smi; install the driver of an NVIDIA GPU')
    if done.returncode or not done.stdout.strip():
        reason = (done.stdout + done.stderr).strip().split('\n')[0] or 'it finds none'
        sys.exit(f'gpu.py: nvidia-smi shows no GPU ({reason}); see to the driver first')
    return done.stdout.strip().replace('\n', '; ')


def install():
    """Makes a virtual environment with all that is needed.

    Returns:
        str: The path of its Python.

    """
    venv.create(WORK / 'venv', with_pip=True)
    [python] = (WORK / 'venv').glob('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    files = ['-r', 'requirements-dev.txt', '-r', 'requirements-gpu.txt']
    if subprocess.run([python, '-m', 'pip', 'install', *files, 'torch'], cwd=ROOT).returncode:
        sys.exit('gpu.py: pip fails; see above, or install by hand and add --here')
    return str(python)


def run(python, command):
    """Runs a step, shows what it prints, and keeps it.

    Returns:
        tuple: Whether it went well, and what it printed. Tests that were all skipped did not.

    """
    print('\n$ python', command, flush=True)
    process = subprocess.Popen(
        [python, *command.split()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed = []
    for line in process.stdout:
        print(line, end='', flush=True)
        printed.append(line)
    skipped = 'pytest' in command and not re.search(r'\d passed', printed[-1] if printed else '')
    return process.wait() == 0 and not skipped, ''.join(printed)


def main():
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--here', action='store_true', help='take what is installed')
    args = parser.parse_args()
    gpu = hardware()
    WORK.mkdir(exist_ok=True)
    python = sys.executable if args.here else install()
    packages = subprocess.check_output([python, '-m', 'pip', 'list'], text=True)
    good, steps = True, ''
    for name, command in STEPS.items():
        well, printed = run(python, command)
        good &= well
        result = 'passes' if well else 'FAILS'
        steps += f'\n### {name}: {result}\n\n```\n$ python {command}\n{printed}```\n'
        if name == next(iter(STEPS)) and not well:
            break
    report = FORM.format(
        result='passes' if good else 'FAILS',
        machine=f'{platform.platform()}, {os.cpu_count()} cores',
        gpu=gpu,
        python=platform.python_version(),
        packages='\n'.join(re.findall(PACKAGES, packages, re.M | re.I)),
        steps=steps,
    )
    report = report.replace(str(ROOT), '.').replace(str(Path.home()), '~')
    (WORK / 'report.md').write_text(report, encoding='utf-8')
    print('\nThe report is in', WORK / 'report.md')
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
