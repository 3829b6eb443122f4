"""How long `make test` takes, and what it ends with.

    python benchmarks/test_time.py --write results/test_time.json
"""
import argparse
import re
import subprocess
import time
from pathlib import Path

from quick import machine
from stephrl.evaluate import save_json

ROOT = Path(__file__).parent.parent
SUMMARY = re.compile(r'^(Success\.|.*\d+ passed.* in [\d.]+s.*|notebooks, library and README agree.*)$')


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--write', type=Path, default=ROOT/'results'/'test_time.json')
    a = ap.parse_args()
    installed, began, lines = (ROOT/'.venv'/'.ready').exists(), time.monotonic(), []
    with subprocess.Popen(['make', 'test'], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as p:
        for line in p.stdout:
            print(line, end='', flush=True)
            if SUMMARY.match(line.strip()): lines.append(line.strip().strip('= '))
    if p.returncode: raise SystemExit(f'make test ended with {p.returncode}: nothing is written')
    print(save_json(a.write, dict(command='python benchmarks/test_time.py', minutes=round((time.monotonic() - began)/60, 2), installation=not installed, lines=lines, machine=machine())))


if __name__ == '__main__':
    main()
