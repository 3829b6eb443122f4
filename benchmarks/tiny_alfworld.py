"""The agent `tiny-alfworld`: trained on the published ALFWorld training games, measured where it has never been, and put into the package.

    ALFWORLD_DATA=DIR python benchmarks/tiny_alfworld.py --out runs/tiny-alfworld --write results/tiny_alfworld.json [--ship]

DIR holds json_2.1.1/train. Resumable: what lies in the folder is not done again. Both agents, cloning and cloning + RL, are
rounded to bfloat16 first, as they are shipped, and these are measured: on `generated` (floor plans that no published training game
uses) and `genuine` (published training games of floor plans kept out of training), with free and with valid decoding. Which of the
two is shipped is decided on `genuine_select`, other kept-out floor plans.
"""
import argparse
import json
from pathlib import Path

from quick import machine, short, stage_times
from stephrl.agents import SHIPPED, StepHRL, load_agent, save_agent
from stephrl.annotate import get_annotator
from stephrl.env import load_suite
from stephrl.evaluate import evaluate, markdown, paired_difference, save_json, table
from stephrl.train import Config, run

AGENTS = {'cloning': 'clone', 'cloning + RL': 'rl'}


def rounded(folder, out, name):
    "The agent as it is shipped: weights in bfloat16, no critics."
    agent = load_agent(folder)
    return save_agent(out, StepHRL(agent.policy, env='alfworld', name=name, train_ids=agent.train_ids), half=True, made_by='python benchmarks/tiny_alfworld.py --ship')


def played(out, agents, suite, decoding, parallel):
    "Results of the agents on a panel, those that are there already as they are."
    results = {}
    for name, folder in agents.items():
        file = out/'played'/f'{suite}-{decoding}-{AGENTS[name]}.json'
        results[name] = json.loads(file.read_text()) if file.exists() else evaluate(load_agent(folder), load_suite(suite), decoding, out=file, n_parallel=parallel, annotator=get_annotator('alfworld'))
    return results


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--out', type=Path, default=Path('runs/tiny-alfworld'))
    ap.add_argument('--write', type=Path, default=Path('results/tiny_alfworld.json'))
    ap.add_argument('--remark', default='', help='kept in the results file: what else was going on')
    ap.add_argument('--ship', action='store_true', help='put the agent into the package')
    a = ap.parse_args()
    config = Config.of('tiny-alfworld')
    trained = run(config, a.out)
    agents = {name: rounded(a.out/'agents'/who, a.out/'rounded'/who, name) for name, who in AGENTS.items()}
    choice = played(a.out, agents, 'genuine_select', 'free', config.parallel)
    best = max(choice, key=lambda n: (choice[n]['success'], -choice[n]['steps']))
    rows = [(suite, decoding, played(a.out, agents, suite, decoding, config.parallel)) for suite in ('generated', 'genuine') for decoding in ('free', 'valid')]
    shown = [r for _, _, pair in rows for r in pair.values()]
    save_json(a.write, dict(
        command='ALFWORLD_DATA=DIR python benchmarks/tiny_alfworld.py', config=trained['config'], shipped=best, remark=a.remark, **{n: trained[n] for n in ('cloning', 'collection', 'rl', 'prompt_growth')},
        machine=machine(), **stage_times(a.out), chosen_on={n: short(r) for n, r in choice.items()}, rows=[short(r) for r in shown],
        rl_minus_cloning={f'{suite}, {decoding} decoding': paired_difference(pair['cloning + RL'], pair['cloning']) for suite, decoding, pair in rows}))
    print(markdown(table(shown), index=False))
    if a.ship: print(rounded(agents[best], SHIPPED/'tiny-alfworld', 'tiny-alfworld'), f'is the agent of {best}')


if __name__ == '__main__':
    main()
