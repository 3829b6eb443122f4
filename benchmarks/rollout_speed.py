"""How many environment actions a second does an agent play, and where does the time go?

    python benchmarks/rollout_speed.py [--agent PATH] [--parallel 1,4,16] [--episodes 16] [--limit 15] [--workers 0] [--cores 1] [--out results/rollout_speed.json]

Plays the same ScienceWorld train variations with different numbers of episodes at once, model and simulators on the same core. Without --agent, a policy of the `mini`
size (that of the quick run) with random weights plays, held to 16 tokens a call: about what a trained one writes. `seconds` says where the time goes: in the model's `generate`,
in the environments (reset and step, which the Java machine does while we wait), and in all the rest."""
import argparse, os, sys, time
import torch
from stephrl.agents import RandomValid, StepHRL, load_agent
from stephrl.env import make_env
from stephrl.evaluate import save_json, versions
from stephrl.policy import Policy
from stephrl.prompts import low_prompt, low_target, progress_prompt
from stephrl.rollout import rollout
from stephrl.workers import EnvPool

TASKS = 'find-animal', 'use-thermometer', 'power-component', 'chemistry-mix-paint-secondary-color'


def babbler(): # the tokenizer of a real agent, its size, no knowledge
    steps = [s for e in rollout(RandomValid(), [(t, 0) for t in TASKS], step_limit=15, progress=False) for s in e.steps]
    texts = [low_prompt('go to the kitchen', '', s.observation) + low_target(s.action, False) for s in steps] + [progress_prompt('find it', '', s.action, s.observation) for s in steps]
    return StepHRL(Policy.new(texts, 'mini'), max_new_tokens=16)


class Clock:
    "Adds up the wall time of some functions, in place of which it stands."
    def __init__(self): self.seconds = {}
    def watch(self, owner, name, part):
        original = getattr(owner, name)
        def timed(*args, **kwargs):
            began = time.perf_counter()
            try: return original(*args, **kwargs)
            finally: self.seconds[part] = self.seconds.get(part, 0.) + time.perf_counter() - began
        setattr(owner, name, timed)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--agent'); p.add_argument('--parallel', default='1,4,16'); p.add_argument('--episodes', type=int, default=16); p.add_argument('--limit', type=int, default=15)
    p.add_argument('--workers', type=int, default=0); p.add_argument('--cores', type=int, default=1); p.add_argument('--out', default='results/rollout_speed.json')
    a = p.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:a.cores])     # Java, started later, inherits it
    torch.set_num_threads(a.cores)
    agent, rows = load_agent(a.agent) if a.agent else babbler(), []
    with make_env('scienceworld') as env: panel = [(t, v) for t in TASKS for v in env.variations(t, 'train')]
    panel = panel[::max(1, len(panel)//a.episodes)][:a.episodes]
    clock, load = Clock(), os.getloadavg()[0]
    clock.watch(Policy, 'generate', 'model')
    for name in ('reset_many', 'step_many', 'valid_many', 'accepts_many'): clock.watch(EnvPool, name, 'environment')
    rollout(agent, panel[:2], step_limit=5, progress=False)                # not counted: Java compiles what is used often
    for n in map(int, a.parallel.split(',')):
        clock.seconds.clear()
        cpu, wall = time.process_time(), time.time()
        episodes = rollout(agent, panel, step_limit=a.limit, n_parallel=n, workers=a.workers, progress=False)
        cpu, wall, steps = time.process_time() - cpu, time.time() - wall, sum(len(e.steps) for e in episodes)
        calls = sum(len(s.calls) for e in episodes for s in e.steps)
        parts = {k: round(v, 2) for k, v in clock.seconds.items()}
        rows.append(dict(parallel=n, actions=steps, actions_per_second=round(steps/wall, 2), calls_per_action=round(calls/steps, 2), wall=round(wall, 2), seconds=parts | dict(rest=round(wall - sum(parts.values()), 2)),
                         our_cpu_ms_per_action=round(1000*cpu/steps, 1), tokens_per_action=round(sum(c.prompt_tokens + c.completion_tokens for e in episodes for s in e.steps for c in s.calls)/steps)))
        print(rows[-1], flush=True)
    rows.sort(key=lambda r: r['parallel'])
    print(f"{rows[-1]['parallel']} at once against {rows[0]['parallel']}: {rows[-1]['actions_per_second']/rows[0]['actions_per_second']:.1f} times as many actions a second")
    save_json(a.out, dict(command=' '.join(['python', *sys.argv]), arguments=vars(a), rows=rows, load_average_at_start=round(load, 1), versions=versions('scienceworld')))


if __name__ == '__main__': main()
