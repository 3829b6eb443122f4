"""What a ScienceWorld step costs: ours without and with the list of valid actions, and the shipped `env.step`, side by side.

    python benchmarks/env_speed.py [--out results/env_speed.json] [--tasks 10]

Every gold path is replayed in three environments at once: one of ours that never asks for the list, one that asks after every step, and ScienceWorld's
own wrapper, which cannot do otherwise. They take each action one right after the other, in changing order, so that whatever else the machine is doing
hits all of them alike. Times are milliseconds: wall clock, and beside it processor time (ours plus Java's), which a busy machine disturbs less. What counts
is the ratio. No test asserts any of this.

That the two lists are the same is checked at every step, element by element (`reset task`, which ours leaves out, apart). For that they have to draw the same lots:
where several names fit an object, the simulator lists it under any of them, and the shipped wrapper, asked twice about one state, gives two answers
(`shipped_agrees_with_itself`). So its random generator is seeded as ours is, before the step and before the list, outside the time that is measured, and its Java
numbers objects as ours does (`--as-shipped`: it does not; then the times are those of the plain wrapper, and some lists differ in words).
"""
import argparse, json, os, platform, random, statistics, sys, time
from pathlib import Path
import psutil
from scienceworld import ScienceWorldEnv
from stephrl.scienceworld import JAVA_OPTIONS, ScienceWorld, find_java, seed_of

TASKS = ['boil', 'chemistry-mix', 'chemistry-mix-paint-secondary-color', 'find-animal', 'grow-plant', 'identify-life-stages-1',
         'lifespan-longest-lived-then-shortest-lived', 'power-component', 'test-conductivity', 'use-thermometer']

SAME_ORDER = ' '.join(o for o in JAVA_OPTIONS if 'Experimental' in o or 'hashCode' in o)

class Shipped(ScienceWorldEnv):
    "ScienceWorld's own wrapper, with the lots of ours: nothing else of it is changed."
    def __init__(self, java_options=SAME_ORDER):
        os.environ['PATH'] = os.path.dirname(find_java()) + os.pathsep + os.environ['PATH']    # it starts plain `java`
        before = os.environ.get('JAVA_TOOL_OPTIONS')
        os.environ['JAVA_TOOL_OPTIONS'] = f"{before or ''} {java_options}".strip()
        super().__init__(envStepLimit=10**9)
        if before is None: del os.environ['JAVA_TOOL_OPTIONS']
        else: os.environ['JAVA_TOOL_OPTIONS'] = before
        self.lots, self.uncounted = getattr(getattr(self._gateway.jvm.scala.util, 'Random$'), 'MODULE$'), 0.

    def begin(self, task, variation):
        self.load(task, variation, '')
        self.actions = 0
        self.reset()

    def draw(self): self.lots.setSeed(seed_of(self.variationIdx, 0, self.actions))

    def act(self, action): # as `step`, which is what is timed
        self.actions += 1
        return self.step(action)

    def get_valid_action_object_combinations(self): # `step` calls this at its end
        began = time.perf_counter()
        self.draw()
        self.uncounted = 1000*(time.perf_counter() - began)
        return super().get_valid_action_object_combinations()

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
    "Times of every action of one gold path, and whether the lists were the same."
    path = plain.gold_path(task, variation)[:most]
    plain.reset(task, variation); listed.reset(task, variation)
    theirs.begin(task, variation)
    rows = []
    for action in path:
        runs = dict(plain=lambda: plain.step(action), listed=lambda: (listed.step(action), listed.valid_actions() if listed.playing else None), shipped=lambda: theirs.act(action))
        theirs.draw()
        out = {k: timed(runs[k], (theirs._gateway.java_process if k == 'shipped' else plain.jvm.process).pid) for k in rng.sample(list(runs), 3)}
        if not (plain.playing and listed.playing): break
        valid, other = out['listed'][2][1], without_reset(out['shipped'][2][3]['valid'])
        again = without_reset(ScienceWorldEnv.get_valid_action_object_combinations(theirs))     # not counted: the same wrapper, the same state, asked once more
        wall = {k: t for k, (t, _, _) in out.items()}
        rows.append(wall | dict(shipped=wall['shipped'] - theirs.uncounted) | {f'{k}_cpu': t for k, (_, t, _) in out.items()} |
                    dict(n_valid=len(valid), same=set(valid) == set(other), same_order=valid == other, itself=set(again) == set(other)))
    return rows

def without_reset(actions): return [a for a in actions if a != 'reset task']

def summary(rows, key):
    x = sorted(r[key] for r in rows if r[key] == r[key])
    return dict(mean=round(statistics.mean(x), 2), median=round(statistics.median(x), 2), p95=round(x[int(.95*(len(x)-1))], 2))

def quantiles(x): # median, and where the middle nine tenths lie
    x = sorted(x)
    return [x[int(q*(len(x)-1))] for q in (.5, .05, .95)]

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--out', default='results/env_speed.json')
    p.add_argument('--tasks', type=int, default=len(TASKS), help='how many tasks')
    p.add_argument('--most', type=int, default=60, help='actions per gold path at most')
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--as-shipped', action='store_true', help="leave the shipped wrapper's Java options alone")
    args = p.parse_args()
    rng, theirs = random.Random(args.seed), Shipped('' if args.as_shipped else SAME_ORDER)
    plain, listed = ScienceWorld(step_limit=None), ScienceWorld(step_limit=None)
    replay('power-component', 1, plain, listed, theirs, rng, args.most)     # not counted: Java compiles what is used often
    load = os.getloadavg()[0]
    per_task = {t: replay(t, plain.variations(t, 'train')[0], plain, listed, theirs, rng, args.most) for t in TASKS[:args.tasks]}
    rows = [r for rs in per_task.values() for r in rs]
    result = dict(command=' '.join(['python', *sys.argv]), unit='ms per step; wall clock, except processor_time', steps=len(rows), tasks=list(per_task), scienceworld=ScienceWorld.version,
        processor_time={k: summary(rows, f'{c}_cpu') for k, c in (('without_list', 'plain'), ('with_list', 'listed'), ('shipped', 'shipped'))},
        without_list=summary(rows, 'plain'), with_list=summary(rows, 'listed'), shipped=summary(rows, 'shipped'),
        ratio_without=round(sum(r['plain'] for r in rows)/sum(r['shipped'] for r in rows), 3), ratio_with=round(sum(r['listed'] for r in rows)/sum(r['shipped'] for r in rows), 3),
        ratio_with_processor_time=round(sum(r['listed_cpu'] for r in rows)/sum(r['shipped_cpu'] for r in rows), 3),
        ratio_with_paired={k: round(x, 3) for k, x in zip(('median', 'p5', 'p95'), quantiles([r['listed']/r['shipped'] for r in rows]))},
        valid_actions=summary(rows, 'n_valid'), **{name: round(statistics.mean(r[k] for r in rows), 3) for name, k in (('same_list', 'same'), ('same_list_in_the_same_order', 'same_order'), ('shipped_agrees_with_itself', 'itself'))},
        per_task={t: {k: summary(rs, k)['mean'] for k in ('plain', 'listed', 'shipped')} for t, rs in per_task.items()},
        java_memory_mb=dict(ours_two_worlds=round(psutil.Process(plain.jvm.process.pid).memory_info().rss/2**20), shipped_one=round(psutil.Process(theirs._gateway.java_process.pid).memory_info().rss/2**20)),
        machine=dict(cpus=os.cpu_count(), processor=platform.processor() or platform.machine(), system=platform.platform(), python=platform.python_version(), java=find_java().split('site-packages/')[-1],
                     load_average_at_start=round(load, 1)))
    for k in ('without_list', 'with_list', 'shipped'): print(f'{k:14} {result[k]}')
    for k, x in result['processor_time'].items(): print(f'{k:14} {x}  processor time')
    print(f"without the list {result['ratio_without']:.2f}, with it {result['ratio_with']:.2f} of the shipped step (step by step, the median is {result['ratio_with_paired']['median']:.2f}); the same list in {result['same_list']:.1%} of the steps (the shipped one, asked twice: {result['shipped_agrees_with_itself']:.1%}); load {load:.1f}")
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    Path(args.out).write_text(json.dumps(result, indent=1) + '\n')
    plain.close(); listed.close(); theirs.close()

if __name__ == '__main__': main()
