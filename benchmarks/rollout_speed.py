"""How many environment actions a second does an agent play, and where does the time go?

    python benchmarks/rollout_speed.py [--agent PATH] [--parallel 1,4,16] [--episodes 16] [--limit 15] [--workers 0] [--threads 1] [--out FILE.json]

Plays the same ScienceWorld train variations with different numbers of episodes at once. Without --agent, a policy of the `tiny` size with random
weights plays, held to 16 tokens a call: about what a trained one writes. CPU seconds are of this process (the model); Java's come on top and are in `wall`."""
import argparse, time
import torch
from stephrl.agents import RandomValid, StepHRL, load_agent
from stephrl.env import make_env
from stephrl.evaluate import save_json, versions
from stephrl.policy import Policy
from stephrl.prompts import low_prompt, low_target, progress_prompt
from stephrl.rollout import rollout

TASKS = 'find-animal', 'use-thermometer', 'power-component', 'chemistry-mix-paint-secondary-color'


def babbler(): # the tokenizer of a real agent, its size, no knowledge
    steps = [s for e in rollout(RandomValid(), [(t, 0) for t in TASKS], step_limit=15, progress=False) for s in e.steps]
    texts = [low_prompt('go to the kitchen', '', s.observation) + low_target(s.action, False) for s in steps] + [progress_prompt('find it', '', s.action, s.observation) for s in steps]
    return StepHRL(Policy.new(texts, 'tiny'), max_new_tokens=16)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--agent'); p.add_argument('--parallel', default='1,4,16'); p.add_argument('--episodes', type=int, default=16); p.add_argument('--limit', type=int, default=15)
    p.add_argument('--workers', type=int, default=0); p.add_argument('--threads', type=int, default=1); p.add_argument('--out')
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    agent, rows = load_agent(a.agent) if a.agent else babbler(), []
    with make_env('scienceworld') as env: panel = [(t, v) for t in TASKS for v in env.variations(t, 'train')]
    panel = panel[::max(1, len(panel)//a.episodes)][:a.episodes]
    for n in map(int, a.parallel.split(',')):
        cpu, wall = time.process_time(), time.time()
        episodes = rollout(agent, panel, step_limit=a.limit, n_parallel=n, workers=a.workers, progress=False)
        cpu, wall, steps = time.process_time() - cpu, time.time() - wall, sum(len(e.steps) for e in episodes)
        calls = sum(len(s.calls) for e in episodes for s in e.steps)
        rows.append(dict(parallel=n, actions=steps, actions_per_second=steps/wall, model_cpu_ms_per_action=1000*cpu/steps, calls_per_action=calls/steps, wall=wall))
        print({k: round(v, 2) for k, v in rows[-1].items()})
    print(f"{rows[-1]['parallel']} at once against {rows[0]['parallel']}: {rows[0]['model_cpu_ms_per_action']/rows[-1]['model_cpu_ms_per_action']:.1f} times less CPU per action")
    if a.out: save_json(a.out, dict(command='python benchmarks/rollout_speed.py', arguments=vars(a), rows=rows, versions=versions('scienceworld')))


if __name__ == '__main__': main()
