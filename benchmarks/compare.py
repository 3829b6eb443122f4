"""Every system of the comparison on one panel, trained from the same demonstrations, backbone and tokens.

    python benchmarks/compare.py --out runs/compare --write results/compare_quick.json
    python benchmarks/compare.py --preset alfworld-quick --out runs/compare-alfworld --write results/compare_alfworld_quick.json

`stephrl compare` with what tutorials/04_why_local_progress.ipynb draws: the prompt tokens of every step of the episodes.
Resumable: what lies in the folder is not done again. One process for one thread: systems can be shared among processes that work in one
folder (`stephrl compare --systems ...`), once the run in FOLDER/step-hrl has its clone; this command then finds them all.
"""
import argparse
import json
from pathlib import Path
from statistics import mean, median

from quick import machine, short
from stephrl.compare import compare
from stephrl.episode import read_episodes
from stephrl.evaluate import episodes_path, save_json
from stephrl.train import Config


def by_step(episodes):
    "At step 1, 2, ... of the episodes that came so far: how many they are, the median and the mean of the prompt tokens, all calls of a step together."
    read = [[sum(c.prompt_tokens for c in s.calls) for s in e.steps] for e in episodes]
    at = [[r[t] for r in read if t < len(r)] for t in range(max(map(len, read), default=0))]
    return dict(episodes=[len(a) for a in at], median=[median(a) for a in at], mean=[round(mean(a), 1) for a in at])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--preset', default='quick')
    ap.add_argument('--out', type=Path, default=Path('runs/compare'))
    ap.add_argument('--write', type=Path, default=Path('results/compare_quick.json'))
    ap.add_argument('--remark', default='', help='kept in the results file: what else was going on')
    a = ap.parse_args()
    result = compare(Config.of(a.preset), a.out)
    rows = {n: short(r) | {k: r[k] for k in ('about', 'unevenness', 'episodes_before')} | dict(steps_read=by_step(read_episodes(episodes_path(a.out/n/'result.json')))) for n, r in result['rows'].items()}
    clone = json.loads((a.out/'step-hrl'/'agents'/'clone'/'agent.json').read_text())
    save_json(a.write, result | dict(command=f'python benchmarks/compare.py --preset {a.preset} --out {a.out} --write {a.write}', remark=a.remark, rows=rows, train_ids=len(clone['train_ids']), machine=machine()))


if __name__ == '__main__':
    main()
