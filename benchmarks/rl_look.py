"""What did the critics of a run learn, and what was there to learn from? For tutorials/05_what_is_worth_imitating.ipynb.

    python benchmarks/rl_look.py --run runs/tiny --write results/rl_look.json

Reads a finished run: the episodes that its clone collected, and the agent with critics. Every recorded call of the collected episodes gets its
V, Q and advantage; they are summed up by role, by how the episode ended and by how far it had come. RL has drawn only some of these
episodes; whether values tell good from bad is asked of the others, too, which its critics have never met.
"""
import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from quick import machine
from stephrl.agents import load_agent
from stephrl.bc import encode_table
from stephrl.episode import read_episodes
from stephrl.evaluate import save_json
from stephrl.iql import advantage_weights, effective_sample_size
from stephrl.offline import mix_rows
from stephrl.prompts import ROLES
from stephrl.transitions import IMITATED, load_dataset

TENTHS = 10


def told_apart(good, bad):
    "The chance that one of `good` is above one of `bad`, ties half: 0.5 is a coin, 1 is always. None: one of them is empty."
    good, bad = np.asarray(good), np.sort(bad)
    if not len(good) or not len(bad): return None
    below, upto = np.searchsorted(bad, good, 'left'), np.searchsorted(bad, good, 'right')
    return round(float(((below + upto)/2).mean()/len(bad)), 3)


def drawn(table, policy, rl, seed):
    "Ids of the collected episodes that RL has learnt from, see `stephrl.offline.mix_rows`."
    rows = table.select(mix_rows(table, encode_table(policy, table).length, rl['max_tokens'], seed))
    return {episode for episode, source in zip(rows['episode'], rows['source']) if source not in IMITATED}


def calls(episodes, role):  # (episode, how far it had come, call)
    return [(e, t/max(1, len(e.steps) - 1), c) for e in episodes for t, s in enumerate(e.steps) for c in s.calls if c.role == role and c.value is not None]


def histogram(mine, bins=40):
    "Advantages of calls in episodes that were solved and in the others."
    a = np.array([c.advantage for _, _, c in mine])
    solved = np.array([e.score >= 100 for e, _, _ in mine])
    low, high = np.quantile(a, [.01, .99])
    edges = np.linspace(low, high, bins + 1)
    return dict(edges=edges.round(5).tolist(), solved=np.histogram(a[solved].clip(low, high), edges)[0].tolist(), other=np.histogram(a[~solved].clip(low, high), edges)[0].tolist(), above_zero=round(float((a > 0).mean()), 3))


def curve(mine):
    "Mean V in every tenth of an episode, and how well V tells those that will be solved from the others."
    out = []
    for k in range(TENTHS):
        here = [(e.score >= 100, c.value) for e, x, c in mine if min(TENTHS - 1, int(x*TENTHS)) == k]
        won, lost = [v for s, v in here if s], [v for s, v in here if not s]
        out.append(dict(solved=round(float(np.mean(won)), 4) if won else None, other=round(float(np.mean(lost)), 4) if lost else None, calls=len(here), told_apart=told_apart(won, lost)))
    return out


def family(mine, task):  # `mine`: the low level's calls
    here = [(e.score >= 100, c.value) for e, x, c in mine if e.task == task and x >= .5]
    return told_apart([v for s, v in here if s], [v for s, v in here if not s])


def example(episodes):
    "A solved and an unsolved episode of one family, the family with most of both: the low level's values, step by step."
    won, lost = (Counter(e.task for e in episodes if (e.score >= 100) == solved) for solved in (True, False))
    task = max(won, key=lambda t: (min(won[t], lost[t]), t), default=None)
    pick = [next((e for e in episodes if e.task == task and (e.score >= 100) == solved), None) for solved in (True, False)]
    return [dict(task=e.task, variation=e.variation, score=e.score, steps=[dict(action=s.action, value=c.value, advantage=c.advantage) for s in e.steps for c in s.calls if c.role == 'low']) for e in pick if e]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--run', type=Path, default=Path('runs/tiny'))
    ap.add_argument('--write', type=Path, default=Path('results/rl_look.json'))
    a = ap.parse_args()
    config, episodes = json.loads((a.run/'config.json').read_text()), [e for e in read_episodes(a.run/'collected.jsonl') if e.steps and not e.error]
    agent, table = load_agent(a.run/'agents'/'rl'), load_dataset(a.run/'transitions'/'mixed.parquet')
    met = drawn(table.select_columns(['role', 'prompt', 'target', 'source', 'task', 'episode']), load_agent(a.run/'agents'/'clone').policy, config['rl'], config['seed'])
    filled = agent.fill_values(episodes)
    new = [e for e in episodes if e.id not in met]
    by_role = {r: calls(episodes, r) for r in ROLES}
    heard, roles, w_max = Counter(zip(table['role'], table['kind'])), {}, config['rl']['w_max']
    for r, mine in by_role.items():
        w = advantage_weights(torch.tensor([c.advantage for _, _, c in mine]), config['rl']['beta'], w_max)
        roles[r] = dict(calls=len(mine), rows=dict(expert=heard[r, 'expert'], own=heard[r, 'collected']), advantages=histogram(mine), values={n: curve(calls(some, r)) for n, some in (('met', [e for e in episodes if e.id in met]), ('new', new))}, effective_share=round(effective_sample_size(w), 3), clipped=round((w >= w_max).float().mean().item(), 4))
    tasks = {t: [e.score for e in episodes if e.task == t] for t in config['tasks']}
    save_json(a.write, dict(command=f'python benchmarks/rl_look.py --run {a.run} --write {a.write}', preset=config['preset'], collect=config['collect'], temperature=config['temperature'], rl=config['rl'], episodes=len(episodes), met=len(episodes) - len(new), calls=filled,
                            families={t: dict(episodes=len(s), score=round(float(np.mean(s)), 1), solved=sum(x >= 100 for x in s), told_apart=family(calls(new, 'low'), t)) for t, s in tasks.items() if s},
                            roles=roles, example=example(episodes), machine=machine()))


if __name__ == '__main__':
    main()
