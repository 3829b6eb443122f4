"""What a ScienceWorld step costs: ours without and with the list of valid actions, and the shipped `env.step`, side by side.

    python benchmarks/env_speed.py [--out results/env_speed.json] [--tasks 10]

Every gold path is replayed in three environments at once: one of ours that never asks for the list, one that asks after every step, and ScienceWorld's
own wrapper, which cannot do otherwise. They take each action one right after the other, in changing order, so that whatever else the machine is doing
hits all of them alike. Times are milliseconds: wall clock, and beside it processor time (ours plus Java's), which a busy machine disturbs less. What counts
is the ratio. No test asserts any of this.
"""
import argparse, json, os, platform, random, statistics, sys, time
from pathlib import Path
import psutil
from stephrl.scienceworld import ScienceWorld, find_java

TASKS = ['boil', 'chemistry-mix', 'chemistry-mix-paint-secondary-color', 'find-animal', 'grow-plant', 'identify-life-stages-1',
         'lifespan-longest-lived-then-shortest-lived', 'power-component', 'test-conductivity', 'use-thermometer']

def shipped():
    "ScienceWorld's own wrapper; it starts plain `java`, so ours has to be on the path."
    os.environ['PATH'] = os.path.dirname(find_java()) + os.pathsep + os.environ['PATH']
    from scienceworld import ScienceWorldEnv
    return ScienceWorldEnv(envStepLimit=10**9)

def on_cpu(pid): # ms that a process has spent on a processor, all threads (Linux)
    try: return sum(int(p.read_text().split()[0]) for p in Path(f'/proc/{pid}/task').glob('*/schedstat'))/1e6
    except OSError: return float('nan') # a thread ended while we read, or another system

def timed(f, java):
    busy = on_cpu(java) + on_cpu(os.getpid())
    began = time.perf_counter()
    out = f()
    wall = 1000*(time.perf_counter() - began)
    return wall, on_cpu(java) + on_cpu(os.getpid()) - busy, out

def replay(task, variation, plain, listed, theirs, rng, most):
    "Times of every action of one gold path, and whether the two lists were the same."
    path = plain.gold_path(task, variation)[:most]
    plain.reset(task, variation); listed.reset(task, variation)
    theirs.load(task, variation, ''); theirs.reset()
    rows = []
    for action in path:
        runs = dict(plain=lambda: plain.step(action), listed=lambda: (listed.step(action), listed.valid_actions() if listed.playing else None), shipped=lambda: theirs.step(action))
        order = rng.sample(list(runs), 3)
        out = {k: timed(runs[k], (theirs._gateway.java_process if k == 'shipped' else plain.jvm.process).pid) for k in order}
        valid, other = out['listed'][2][1], out['shipped'][2][3]['valid']
        if plain.playing and listed.playing: rows.append({k: t for k, (t, _, _) in out.items()} | {f'{k}_cpu': t for k, (_, t, _) in out.items()} | dict(n_valid=len(valid), same=set(valid) == set(other) - {'reset task'}))
        else: break
    return rows

def summary(rows, key):
    x = sorted(r[key] for r in rows if r[key] == r[key])
    return dict(mean=round(statistics.mean(x), 2), median=round(statistics.median(x), 2), p95=round(x[int(.95*(len(x)-1))], 2))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--out', default='results/env_speed.json')
    p.add_argument('--tasks', type=int, default=len(TASKS), help='how many tasks')
    p.add_argument('--most', type=int, default=60, help='actions per gold path at most')
    p.add_argument('--seed', type=int, default=0)
    args = p.parse_args()
    rng, theirs = random.Random(args.seed), shipped()
    plain, listed = ScienceWorld(step_limit=None), ScienceWorld(step_limit=None)
    replay('power-component', 1, plain, listed, theirs, rng, args.most)     # not counted: Java compiles what is used often
    load = os.getloadavg()[0]
    per_task = {t: replay(t, plain.variations(t, 'train')[0], plain, listed, theirs, rng, args.most) for t in TASKS[:args.tasks]}
    rows = [r for rs in per_task.values() for r in rs]
    result = dict(command=' '.join(['python', *sys.argv]), unit='ms per step; wall clock, except processor_time', steps=len(rows), tasks=list(per_task), scienceworld=ScienceWorld.version,
        processor_time={k: summary(rows, f'{c}_cpu') for k, c in (('without_list', 'plain'), ('with_list', 'listed'), ('shipped', 'shipped'))},
        without_list=summary(rows, 'plain'), with_list=summary(rows, 'listed'), shipped=summary(rows, 'shipped'),
        ratio_without=round(sum(r['plain'] for r in rows)/sum(r['shipped'] for r in rows), 3), ratio_with=round(sum(r['listed'] for r in rows)/sum(r['shipped'] for r in rows), 3),
        valid_actions=summary(rows, 'n_valid'), same_list=round(statistics.mean(r['same'] for r in rows), 3),
        per_task={t: {k: summary(rs, k)['mean'] for k in ('plain', 'listed', 'shipped')} for t, rs in per_task.items()},
        java_memory_mb=dict(ours_two_worlds=round(psutil.Process(plain.jvm.process.pid).memory_info().rss/2**20), shipped_one=round(psutil.Process(theirs._gateway.java_process.pid).memory_info().rss/2**20)),
        machine=dict(cpus=os.cpu_count(), processor=platform.processor() or platform.machine(), system=platform.platform(), python=platform.python_version(), java=find_java().split('site-packages/')[-1],
                     load_average_at_start=round(load, 1)))
    for k in ('without_list', 'with_list', 'shipped'): print(f'{k:14} {result[k]}')
    for k, x in result['processor_time'].items(): print(f'{k:14} {x}  processor time')
    print(f"without the list {result['ratio_without']:.2f}, with it {result['ratio_with']:.2f} of the shipped step; the same list in {result['same_list']:.0%} of the steps; load {load:.1f}")
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    Path(args.out).write_text(json.dumps(result, indent=1) + '\n')
    plain.close(); listed.close(); theirs.close()

if __name__ == '__main__': main()
