"""The recipe of `tiny` at a quarter of its size, in several trainings: how far do two of them lie apart?

    python benchmarks/tiny_seeds.py --first runs/tiny --out runs/tiny-seeds --write results/tiny_seeds.json [--seeds 3]

All learn from the expert's plays that lie in the folder `--first` (`benchmarks/tiny.py` leaves them there); the seeds differ in weights,
batches, renamings and collection. Each training is measured on the `unseen` panel, free decoding, with the weights as they are. They
choose nothing. Resumable: what lies in the folder is not done again.
"""
import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from quick import machine, short, stage_times
from stephrl.agents import load_agent
from stephrl.annotate import get_annotator
from stephrl.env import load_suite
from stephrl.evaluate import evaluate, markdown, paired_difference, save_json, table
from stephrl.train import PLAYS, Config, Run

AGENTS = {'cloning': 'clone', 'cloning + RL': 'rl'}


def part_of(preset, share, seed):
    "The preset with this share of the tokens and of the collected episodes."
    c = Config.of(preset)
    sizes = {'clone.max_tokens': c.clone.max_tokens, 'collect': c.collect, 'rl.max_tokens': c.rl.max_tokens, 'rl.policy.max_tokens': c.rl.policy.max_tokens}
    return Config.of(preset, seed=seed, **{name: round(size*share) for name, size in sizes.items()})


def trained(config, folder, first):
    "The learning stages of a run that starts from the plays of another."
    folder.mkdir(parents=True, exist_ok=True)
    for name in ('demos', *PLAYS):
        if not (folder/f'{name}.jsonl').exists(): shutil.copy(first/f'{name}.jsonl', folder/f'{name}.jsonl')
    r = Run(config, folder)
    r.demonstrations(), r.annotated(), r.tables(), r.cloned(), r.collected(), r.reinforced()


def measured(folder, suite, config):
    "What its two agents score on a panel."
    rows = {}
    for name, who in AGENTS.items():
        file = folder/'evaluation'/f'{suite}-{who}.json'
        rows[name] = json.loads(file.read_text()) if file.exists() else evaluate(load_agent(folder/'agents'/who), load_suite(suite), out=file, seed=config.seed, n_parallel=config.parallel, annotator=get_annotator(config.env))
    return rows


def spread(results):
    "Mean of the trainings, lowest, highest and, over the trainings, the standard deviation of one of them and of the difference of two."
    scores = [r['score'] for r in results]
    sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
    return dict(trainings=len(scores), mean=float(np.mean(scores)), lowest=min(scores), highest=max(scores), sd=sd, sd_of_difference=None if sd is None else sd*2**.5)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--first', type=Path, default=Path('runs/tiny'), help="folder of the run whose demonstrations, searches and errands are learnt from")
    ap.add_argument('--out', type=Path, default=Path('runs/tiny-seeds'))
    ap.add_argument('--write', type=Path, default=Path('results/tiny_seeds.json'))
    ap.add_argument('--seeds', type=int, default=3)
    ap.add_argument('--share', type=float, default=.25, help='of the tokens and of the collected episodes')
    ap.add_argument('--suite', default='unseen')
    ap.add_argument('--remark', default='', help='kept in the results file: what else was going on')
    a = ap.parse_args()
    configs = [part_of('tiny', a.share, s) for s in range(a.seeds)]
    folders = [a.out/f'seed{s}' for s in range(a.seeds)]
    for c, f in zip(configs, folders): trained(c, f, a.first)
    rows = [measured(f, a.suite, c) for c, f in zip(configs, folders)]
    by_agent = {n: [r[n] for r in rows] for n in AGENTS}
    save_json(a.write, dict(
        command=f'python benchmarks/tiny_seeds.py --seeds {a.seeds} --share {a.share:g}', config=json.loads((folders[0]/'config.json').read_text()), share=a.share, remark=a.remark, machine=machine(),
        minutes=[stage_times(f)['minutes'] for f in folders], seeds={n: [short(r) for r in rs] for n, rs in by_agent.items()}, spread={n: spread(rs) for n, rs in by_agent.items()},
        rl_minus_cloning=paired_difference(by_agent['cloning + RL'], by_agent['cloning'])))
    print(markdown(table([r for rs in by_agent.values() for r in rs]), index=False))


if __name__ == '__main__':
    main()
