"""Every system of the comparison on one panel, trained from the same demonstrations, backbone and tokens.

    python benchmarks/compare.py --out runs/compare --write results/compare_quick.json
    python benchmarks/compare.py --preset alfworld-quick --out runs/compare-alfworld --write results/compare_alfworld_quick.json

`stephrl compare`, short enough to be kept; tutorials/04_why_local_progress.ipynb draws it.
Resumable: what lies in the folder is not done again. One process for one thread: systems can be shared among processes that work in one
folder (`stephrl compare --systems ...`) once all that they start from is there, the clone and what it has played: after `stephrl compare --systems rl`.
This command then finds them all.
"""
import argparse
from pathlib import Path

from quick import machine, short
from stephrl.compare import compare
from stephrl.evaluate import save_json
from stephrl.train import Config


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--preset', default='quick')
    ap.add_argument('--out', type=Path, default=Path('runs/compare'))
    ap.add_argument('--write', type=Path, default=Path('results/compare_quick.json'))
    ap.add_argument('--remark', default='', help='kept in the results file: what else was going on')
    a = ap.parse_args()
    result = compare(Config.of(a.preset), a.out)
    rows = {n: short(r) | {k: r[k] for k in ('about', 'unevenness')} for n, r in result['rows'].items()}
    save_json(a.write, result | dict(command=f'python benchmarks/compare.py --preset {a.preset}', remark=a.remark, rows=rows, machine=machine()))


if __name__ == '__main__':
    main()
