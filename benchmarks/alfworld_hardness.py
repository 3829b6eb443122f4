"""Are the games of the generated panel as hard to search as genuine ones? Places opened, and actions, per game that an expert wins.

    ALFWORLD_DATA=DIR python benchmarks/alfworld_hardness.py --write results/alfworld_hardness.json

DIR holds json_2.1.1/train. `search` acts from the text alone and looks in the best places first; `handcoded` is the expert that comes
with ALFWorld, corrected, which goes round at random.
"""
import argparse
from pathlib import Path
from statistics import mean, median

from tqdm import tqdm

from stephrl.alfworld import EXPERTS, ALFWorld
from stephrl.demos import play_expert
from stephrl.env import load_suite
from stephrl.evaluate import save_json

PANELS = ('generated', 'genuine')


def effort(episodes):
    won = [e for e in episodes if e.score >= 100]
    opened, actions = ([f(e) for e in won] for f in (lambda e: sum(s.action.startswith('open ') for s in e.steps), lambda e: len(e.steps)))
    if not won: return dict(games=len(episodes), won=0)
    return dict(games=len(episodes), won=len(won), opened_median=median(opened), opened_mean=round(mean(opened), 2), actions_median=median(actions), actions_mean=round(mean(actions), 1))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--write', type=Path, default=Path('results/alfworld_hardness.json'))
    a, rows = ap.parse_args(), {}
    for panel in PANELS:
        games = load_suite(panel).episodes
        for kind in EXPERTS:
            with ALFWorld(expert=kind) as env: played = [play_expert(env, task, id) for task, id in tqdm(games, desc=f'{panel}, {kind}')]
            rows[f'{panel}, {kind}'] = effort(played) | dict(per_type={t: effort([e for e in played if e.task == t]) for t in dict.fromkeys(t for t, _ in games)})
            print(panel, kind, rows[f'{panel}, {kind}'])
    print(save_json(a.write, dict(command='ALFWORLD_DATA=DIR python benchmarks/alfworld_hardness.py', step_limit=50, seed=0, rows=rows)))


if __name__ == '__main__':
    main()
