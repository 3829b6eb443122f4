"""The agents of the package: trained, measured where they have never been, and put into the package.

    python benchmarks/tiny.py --out runs/tiny --write results/tiny.json [--ship]
    ALFWORLD_DATA=DIR python benchmarks/tiny.py --preset tiny-alfworld --out runs/tiny-alfworld --write results/tiny_alfworld.json [--ship]
    ALFWORLD_DATA=DIR python benchmarks/tiny.py --preset tiny-alfworld --clone tiny-alfworld    # RL again, from the clone of the package

DIR holds json_2.1.1/train. Resumable: what lies in the folder is not done again. Both agents, cloning and cloning + RL, are
rounded to bfloat16 first, as they are shipped, and these are measured, with free and with valid decoding: `tiny` on `unseen` (test
variations) and `seen` (dev variations), `tiny-alfworld` on `generated` (floor plans that no published training game uses) and
`genuine` (published training games of floor plans kept out of training). What the recipe ends with is shipped, cloning + RL, unless it
is worse than the clone on training variations that are kept out of training. The clone of `tiny` is measured without its care, too
(`careless`), and cloned on with as many tokens as RL's policy has read, but of the demonstrations alone (`continued`): what RL has above
*that* comes from playing. Both agents are measured on train variations that they have learnt from, which chooses nothing.
"""
import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

from numpy.random import default_rng
from quick import machine, short, stage_times
from stephrl.agents import SHIPPED, StepHRL, load_agent, save_agent
from stephrl.annotate import get_annotator
from stephrl.compare import cloned_on_with, no_rows
from stephrl.env import load_suite
from stephrl.episode import read_episodes
from stephrl.evaluate import episodes_path, evaluate, markdown, paired_difference, prompt_growth, save_json, summarise, table
from stephrl.rollout import rollout
from stephrl.train import Config, Run

AGENTS = {'cloning': 'clone', 'cloning + RL': 'rl'}
RULE = 'what the recipe ends with, cloning + RL, unless the 95% interval of its difference to cloning lies below 0'  # on `Plan.choose`
WEAK = 80   # families in which cloning stays below that, on the train variations that choose: RL has something to do there


@dataclass(frozen=True)
class Plan:
    choose: str             # panel of train variations that are kept out of training
    panels: tuple           # on which both are measured
    data: str = ''          # what stands before the command


PLANS = {'tiny': Plan('all30_select', ('unseen', 'seen')),
         'tiny-alfworld': Plan('genuine_select', ('generated', 'genuine'), 'ALFWORLD_DATA=DIR ')}


def learnt(config, out, clone=None):
    "The learning stages of a run, without its own measurement: these agents are measured as they are shipped. With an agent that is cloned already, those after cloning. What there is to say of them."
    r, folder = Run(config, out), out/'agents'/'clone'
    r.demonstrations(), r.annotated()
    if clone is None: r.tables(), r.backbone(), r.cloned()
    elif not folder.exists(): save_agent(folder, load_agent(clone))
    r.collected(), r.reinforced()
    return dict(config=json.loads(r.path('config.json').read_text()), **{n: json.loads(r.path('notes', f'{n}.json').read_text()) for n in ('cloning', 'collection', 'rl') if r.path('notes', f'{n}.json').exists()})


def times(out, before):  # seconds of the stages; what is not done again took what it took
    seconds = {**before.get('seconds', {}), **stage_times(out)['seconds']}
    return dict(seconds=seconds, minutes=round(sum(seconds.values())/60, 2))


def rounded(folder, out, name, preset, known=()):
    "The agent as it is shipped: weights in bfloat16, no critics."
    agent = load_agent(folder)
    return save_agent(out, StepHRL(agent.policy, careful=agent.careful, env=agent.env, name=name, train_ids=sorted({*agent.train_ids, *known}, key=str)), half=True, made_by=f'{PLANS[preset].data}python benchmarks/tiny.py --preset {preset} --ship')


def played_file(out, suite, decoding, name): return out/'played'/f'{suite}-{decoding}-{AGENTS[name]}.json'


def not_met(suite, agents):
    "The episodes of a panel that none of the agents has met, not even its backbone in reading."
    panel, met = load_suite(suite), {tuple(i) for folder in agents.values() for i in load_agent(folder).train_ids}
    return replace(panel, episodes=[e for e in panel.episodes if tuple(e) not in met], gold=None)


def by_heart(out, agents, config, n=4, seed=7):
    "Results of the agents on train variations that all of them have learnt from, `n` of every family. They choose nothing. Seeded."
    met, draw = set.intersection(*({tuple(i) for i in load_agent(folder).train_ids} for folder in agents.values())), default_rng(seed)
    episodes = [(t, v) for t in config.tasks for v in draw.permutation(sorted(v for task, v in met if task == t))[:n].tolist()]
    results = {}
    for name, folder in agents.items():
        file = out/'played'/f'by-heart-{AGENTS[name]}.episodes.jsonl'
        results[name] = dict(agent=name, decoding='free') | summarise(rollout(load_agent(folder), episodes, config.env, n_parallel=config.parallel, out=file, split='train', annotator=get_annotator(config.env)))
    return results


def played_once(file, make, config, panel, decoding):
    "The result in a file, and where there is none yet, of the agent that `make` gives, as far as the panel's families were learnt."
    if file.exists(): return json.loads(file.read_text())
    tasks = [t for t in config.tasks if any(e[0] == t for e in panel.episodes)]
    return evaluate(make(), panel, decoding, out=file, tasks=tasks, n_parallel=config.parallel, annotator=get_annotator(config.env))


def played(out, agents, config, panel, decoding):
    "Results of the agents on a panel."
    return {name: played_once(played_file(out, panel.name, decoding, name), lambda: load_agent(folder), config, panel, decoding) for name, folder in agents.items()}


def beside_file(out, panel, which): return out/'played'/f'{panel.name}-free-{which}.json'


def careless(out, config):
    "The clone without its care, see `stephrl.agents.StepHRL`: what is that worth?"
    return load_agent(out/'rounded'/'clone', careful=False, name='cloning, not careful')


def continued(out, config):
    "The clone after more cloning of the demonstrations, as much as RL's policy has read: what of RL's gain is only longer training?"
    run, folder, name = Run(config, out), out/'continued', 'cloning, continued'
    cloned_on_with(no_rows)(run, folder)
    return load_agent(rounded(folder/'agent', out/'rounded'/'continued', name, config.preset))


BESIDE = {'careless': careless, 'continued': continued}  # more agents, on the first panel alone, free decoding


def beside(out, config, panel, which):
    "Result of one of them."
    return played_once(beside_file(out, panel, which), lambda: BESIDE[which](out, config), config, panel, 'free')


def growth(out, suite, name, agent):
    "How much the prompts of an agent grow in the episodes of a panel, see `stephrl.evaluate.prompt_growth`."
    return prompt_growth(read_episodes(episodes_path(played_file(out, suite, 'free', name))), load_agent(agent).policy)


def within(result, families):
    "The part of a result that was played in these families."
    return result | dict(per_episode=[e for e in result['per_episode'] if e['task'] in families])


def differences(rows, families):  # RL minus cloning on every panel, in these families
    pairs = [(suite, decoding, [within(pair[n], families) for n in ('cloning + RL', 'cloning')]) for suite, decoding, pair in rows]
    return {f'{suite}, {decoding} decoding': paired_difference(*pair) for suite, decoding, pair in pairs if pair[0]['per_episode']}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--preset', choices=PLANS, default='tiny')
    ap.add_argument('--out', type=Path, help='default: runs/PRESET')
    ap.add_argument('--write', type=Path, help='default: results/PRESET.json')
    ap.add_argument('--clone', help='folder or name of an agent that is cloned already: what the results file says of its cloning stays')
    ap.add_argument('--only', default='', help='play these alone, such as unseen-free,unseen-valid,continued; what lies in the folder is reported all the same')
    ap.add_argument('--remark', default='', help='kept in the results file: what else was going on')
    ap.add_argument('--ship', action='store_true', help='put the agent into the package')
    a = ap.parse_args()
    plan, config, out, write = PLANS[a.preset], Config.of(a.preset), a.out or Path('runs')/a.preset, a.write or Path('results')/f'{a.preset.replace("-", "_")}.json'
    before = json.loads(write.read_text()) if a.clone else {}
    trained = learnt(config, out, a.clone) | (dict(cloning=before['cloning']) if a.clone else {})
    known = load_agent(a.clone).train_ids if a.clone else ()
    agents = {name: rounded(out/'agents'/who, out/'rounded'/who, name, a.preset, known) for name, who in AGENTS.items()}
    choice = played(out, agents, config, not_met(plan.choose, agents), 'free')
    weak = [t for t, r in choice['cloning']['per_task'].items() if r['score'] < WEAK]
    gained = paired_difference(choice['cloning + RL'], choice['cloning'])
    best = 'cloning' if gained['ci95'][1] < 0 else 'cloning + RL'
    heart = by_heart(out, agents, config) if config.env == 'scienceworld' else {}
    wanted = [(suite, decoding) for suite in plan.panels for decoding in ('free', 'valid') if not a.only or f'{suite}-{decoding}' in a.only.split(',') or all(played_file(out, suite, decoding, n).exists() for n in AGENTS)]
    rows = [(suite, decoding, played(out, agents, config, load_suite(suite), decoding)) for suite, decoding in wanted]
    shown = [r for _, _, pair in rows for r in pair.values()]
    first = load_suite(plan.panels[0])
    more = {n: beside(out, config, first, n) for n in BESIDE if config.careful and (not a.only or n in a.only.split(',') or beside_file(out, first, n).exists())}
    shown += more.values()
    pairs = {(suite, decoding): pair for suite, decoding, pair in rows}
    longer = paired_difference(pairs[first.name, 'free']['cloning + RL'], more['continued']) if 'continued' in more and (first.name, 'free') in pairs else None
    command = f'{plan.data}python benchmarks/tiny.py --preset {a.preset}'
    save_json(write, dict(
        command=command + (f' --clone {a.clone}' if a.clone else ''), clone_command=command, config=trained['config'], shipped=best, rule=RULE, only=a.only, remark=a.remark, **{n: trained[n] for n in ('cloning', 'collection', 'rl')}, prompt_growth=growth(out, plan.panels[0], best, agents[best]) if (plan.panels[0], 'free') in wanted else None,
        machine=machine(), **times(out, before), chosen_on={n: short(r) for n, r in choice.items()}, gained_there=gained,
        by_heart={n: short(r) for n, r in heart.items()}, by_heart_minus=paired_difference(heart['cloning + RL'], heart['cloning']) if heart else None, rows=[short(r) for r in shown],
        rl_minus_cloning=differences(rows, config.tasks), rl_minus_continued=longer, weak=dict(below=WEAK, families=weak, rl_minus_cloning=differences(rows, weak))))
    print(markdown(table(shown), index=False))
    if a.ship: print(rounded(agents[best], SHIPPED/a.preset, a.preset, a.preset), f'is the agent of {best}')


if __name__ == '__main__':
    main()
