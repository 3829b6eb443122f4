"""The main job, measured: three seeds of the quick preset, and the ablations of the first on the same panel.

    python benchmarks/quick.py --out runs/bench --write results/quick.json [--timed runs/quick]
    python benchmarks/quick.py --only-time runs/quick --write results/quick.json
    python benchmarks/quick.py --float32 runs/quick --write results/quick.json     # on a machine whose processor has no bfloat16
    python benchmarks/quick.py --preset alfworld-quick --seeds 1 --out runs/bench-alfworld --write results/alfworld_quick.json

Resumable: what lies in the folder is not done again. Seeds after the first start from its demonstrations
(the simulator is not deterministic; the seeds are meant to differ in weights, batches and collection only).
"""
import argparse
import json
import os
import platform
import shutil
from dataclasses import replace
from pathlib import Path

import torch

from stephrl.agents import load_agent
from stephrl.annotate import get_annotator
from stephrl.env import load_suite
from stephrl.episode import read_episodes
from stephrl.evaluate import evaluate, markdown, paired_difference, prompt_growth, save_json, table
from stephrl.train import Config, differing_settings, run
from stephrl.training import choose_precision

KEEP = ('suite', 'protocol', 'decoding', 'agent', 'episodes', 'score', 'ci95', 'crashes', 'tokens_per_step', 'per_task', 'gold_ceiling', 'steps', 'invalid',
        'success', 'success_ci95', 'scoring', 'seconds', 'seed', 'versions', 'train_ids')


def short(result):  # without the list of episodes' details, with their scores
    return {k: result[k] for k in KEEP if k in result} | dict(scores=[[e['task'], e['variation'], e['score']] for e in result['per_episode']])


def machine(): return dict(cores=os.cpu_count(), processor=platform.machine(), bfloat16=choose_precision('auto', 'cpu') == 'bf16', torch=torch.__version__, threads=torch.get_num_threads())


def stage_times(folder):  # of a run
    seconds = {n: s['seconds'] for n, s in json.loads((folder/'stages.json').read_text()).items()}
    return dict(seconds={n: round(s, 1) for n, s in seconds.items()}, minutes=round(sum(seconds.values())/60, 2))


ANOTHER = 'another run of the first seed, nothing else running'   # whose seconds are reported


def scores(run):  # of every episode, both agents
    return [[e['score'] for e in r['per_episode']] for r in run['agents'].values()]


def train(out, preset, seed, first):
    folder = out/f'seed{seed}'
    if seed and not (folder/'demos.jsonl').exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(first/'demos.jsonl', folder/'demos.jsonl')
    return run(Config.of(preset, seed=seed), folder)


def ablations(folder, suite, env, out, parallel, only=None):
    "What else may be said on the same panel; each row names how it differs from the agent."
    rows = {}
    plans = {'random valid actions': ('random', {}, 'valid'), 'cloning, valid decoding': ('clone', {}, 'valid'), 'cloning + RL, valid decoding': ('rl', {}, 'valid'),
             'cloning, oracle progress': ('clone', dict(oracle_progress=True), 'free'), 'cloning + RL, oracle progress': ('rl', dict(oracle_progress=True), 'free')}
    for name, (who, changes, decoding) in plans.items():
        if only is not None and name not in only: continue
        agent = load_agent('random' if who == 'random' else folder/'agents'/who, **changes)
        file = out/'ablations'/f'{name.replace(", ", "-").replace(" ", "-")}.json'
        rows[name] = json.loads(file.read_text()) if file.exists() else evaluate(agent, suite, decoding, out=file, n_parallel=parallel, annotator=get_annotator(env))
    return rows


OTHERS = dict(scienceworld='seen', alfworld='generated')   # panels with games of the same families
FRESH = dict(scienceworld='quick_fresh_2')                 # and one that is played at the end alone


def elsewhere(folder, suite, panel, env, out, parallel):
    "The first seed's agents on other games of the same families."
    mine, rows = load_suite(suite).episodes, {}
    families, fresh = dict.fromkeys(t for t, _ in mine), load_suite(panel)
    fresh = fresh.select(tasks=[t for t in families if t in {e[0] for e in fresh.episodes}])
    keep = [i for i, e in enumerate(fresh.episodes) if e not in set(mine)]
    fresh = replace(fresh, name=fresh.name if len(keep) == len(fresh) else f'{fresh.name} without {suite}', episodes=[fresh.episodes[i] for i in keep], gold=fresh.gold and [fresh.gold[i] for i in keep])
    for name, who in (('cloning', 'clone'), ('cloning + RL', 'rl')):
        file = out/'elsewhere'/f'{panel}-{who}.json'
        rows[name] = json.loads(file.read_text()) if file.exists() else evaluate(load_agent(folder/'agents'/who), fresh, out=file, n_parallel=parallel, annotator=get_annotator(env))
    return rows


def growth_together(folders):
    "How prompts grow in the episodes of all trainings, each episode a draw of the interval; they share a tokenizer."
    episodes = [e for f in folders for e in read_episodes(f/'evaluation'/'rl.episodes.jsonl')]
    return prompt_growth(episodes, load_agent(folders[0]/'agents'/'rl').policy)


def same_settings(config, folder):
    "Stops unless the run in the folder has these settings."
    if other := differing_settings(config, json.loads((folder/'config.json').read_text())): raise SystemExit(f'{folder}: a run with other settings: {", ".join(other)}')


def retimed(file, folder, remark):
    "The results file with the stage times, and the two scores, of another run of the same settings; nothing else in it changes."
    result = json.loads(file.read_text())
    same_settings(result['config'], folder)
    played = json.loads((folder/'results.json').read_text())['agents']
    return result | dict(seconds_of=f'{ANOTHER}: python benchmarks/quick.py --only-time DIR', **stage_times(folder), remark=remark, machine=machine(), timed={n: short(r) for n, r in played.items()})


def in_float32(file, folder, remark):
    "The results file with the times and the two scores of a run in float32 beside the others; nothing else in it changes."
    result = json.loads(file.read_text())
    same_settings(result['config'], folder)
    if (here := machine())['bfloat16']: raise SystemExit('this processor has bfloat16; measure on one that has none')
    return result | dict(float32=dict(command='python benchmarks/quick.py --float32 DIR', **stage_times(folder), machine=here, remark=remark, **{n: short(r) for n, r in json.loads((folder/'results.json').read_text())['agents'].items()}))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--preset', default='quick', help='quick or alfworld-quick')
    ap.add_argument('--seeds', type=int, default=3)
    ap.add_argument('--out', type=Path, default=Path('runs/bench'))
    ap.add_argument('--write', type=Path, default=Path('results/quick.json'))
    ap.add_argument('--timed', type=Path, help='folder of another run of the first seed, made with nothing else running: its stage times are reported, and it counts as one more training where its episodes went otherwise')
    ap.add_argument('--only-time', type=Path, help='folder of a run made with nothing else running: its stage times and scores are put into the results file, which otherwise stays as it is')
    ap.add_argument('--float32', type=Path, help='folder of a run made on a processor without bfloat16, nothing else running: its times and scores are put into the results file beside the others')
    ap.add_argument('--remark', default='', help='kept in the results file: what else was going on')
    ap.add_argument('--only', nargs='*', help='ablations to play (their names in the results file); default: all')
    a = ap.parse_args()
    if a.only_time: return print(save_json(a.write, retimed(a.write, a.only_time, a.remark)))
    if a.float32: return print(save_json(a.write, in_float32(a.write, a.float32, a.remark)))
    runs = [train(a.out, a.preset, s, a.out/'seed0') for s in range(a.seeds)]
    folders = [a.out/f'seed{s}' for s in range(a.seeds)]
    config = Config.of(a.preset)
    rows = ablations(a.out/'seed0', config.suite, config.env, a.out, config.parallel, a.only)
    dev = elsewhere(a.out/'seed0', config.suite, OTHERS[config.env], config.env, a.out, config.parallel)
    fresh = elsewhere(a.out/'seed0', config.suite, FRESH[config.env], config.env, a.out, config.parallel) if config.env in FRESH else {}
    timed = a.timed or a.out/'seed0'
    same_settings(runs[0]['config'], timed)
    if a.timed:
        another = json.loads((timed/'results.json').read_text())
        if scores(another) != scores(runs[0]):                             # it counts like the others, unless it is the first seed's training over again
            runs.append(another); folders.append(timed)
    agents = {n: [r['agents'][n] for r in runs] for n in ('cloning', 'rl')}
    result = dict(
        command=' '.join(['python benchmarks/quick.py', '--preset', a.preset, '--seeds', str(a.seeds), *(['--write', str(a.write)] if a.write != ap.get_default('write') else []),
                          *(['--timed', 'DIR'] if a.timed else []), *(['--only', *map(repr, a.only)] if a.only is not None else [])]), config=runs[0]['config'],
        machine=machine(),
        seconds_of='the first seed' if a.timed is None else ANOTHER,
        **stage_times(timed), remark=a.remark,
        seeds={n: [short(r) for r in rs] for n, rs in agents.items()},
        rl_minus_cloning=paired_difference(agents['rl'], agents['cloning']),
        rl=[r['rl'] for r in runs], cloning=[r['cloning'] for r in runs], collection=[r['collection'] for r in runs],
        prompt_growth=[r['prompt_growth'] for r in runs], prompt_growth_together=growth_together(folders), expert_growth=runs[0]['expert_growth'], ablations={n: short(r) for n, r in rows.items()}, dev_variations={n: short(r) for n, r in dev.items()},
        fresh_variations={n: short(r) for n, r in fresh.items()})
    save_json(a.write, result)
    print(markdown(table([*agents['cloning'], *agents['rl'], *rows.values(), *dev.values(), *fresh.values()]), index=False))
    d = result['rl_minus_cloning']
    print(f"\nRL minus cloning over {d['seeds']} trainings: {d['difference']:+.1f} [{d['ci95'][0]:+.1f}, {d['ci95'][1]:+.1f}]\n{a.write}")


if __name__ == '__main__':
    main()
