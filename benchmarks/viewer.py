"""How large and how fast is the viewer? Files of 50, 500 and 5,000 steps, lists of 10 and 1,000 episodes, and 200 episodes of 50 steps, in a real Chromium.

    python benchmarks/viewer.py --out results/viewer.json

Prints and writes, for each: bytes (of the page; of the widget's first message; of one episode on request), milliseconds from opening the file to the
first step on the screen, and milliseconds a step takes on the client, from the key press to the finished layout (median, 95th percentile and worst of 100 presses a time the page is opened; processor time and clock).
The episodes are made here from a seed, with texts and prompts of the size that ScienceWorld has.
"""
import argparse, json, os, platform, random, shutil, statistics, tempfile, time
from pathlib import Path
from stephrl.episode import Call, Episode, Observation, Step, Subtask
from stephrl.prompts import about_tokens, flat_prompt, flat_target, high_prompt, high_target, low_prompt, low_target, progress_prompt, progress_target
from stephrl.viewer import EpisodeViewer, to_html

ROOMS = ['hallway', 'kitchen', 'greenhouse', 'workshop', 'bathroom', 'foundry', 'art studio', 'outside']
THINGS = ['a cupboard. The cupboard door is closed.', 'a fridge. The fridge door is open.', 'a glass jar (containing a substance called sodium chloride)', 'a counter. On the counter is: a bowl (containing a red apple, a banana, an orange, a potato), a drawer.',
          'a substance called air', 'a table. On the table is: a glass cup (containing nothing).', 'a picture', 'a freezer. The freezer door is closed.', 'an oven, which is turned off. The oven door is closed.', 'a lighter', 'soap', 'chair', 'a flower pot 3 (containing soil)']


def look(room, rng):
    things = rng.sample(THINGS, 9) + [f'a thermometer, currently reading a temperature of {rng.randint(4, 35)} degrees celsius', f'a sink, which is turned {rng.choice(["on", "off"])}. In the sink is: nothing.']
    doors = [f'A door to the {r} (that is {rng.choice(["open", "closed"])})' for r in rng.sample(ROOMS, 4)]
    return f'This room is called the {room}. In it, you see: \n\t' + '\n\t'.join(['the agent', *things]) + '\nYou also see:\n\t' + '\n\t'.join(doors)


def call(role, prompt, target): return Call(role, prompt, target, about_tokens(prompt), about_tokens(target), -.4, .3, .35, .05)


def episode(n, variation=0, seed=0, flat=False):
    "`n` steps of a step-level agent, or of a flat one that reads its whole history: every exact prompt and completion is there."
    rng, steps, subtasks, note, names = random.Random(f'{n}/{variation}/{seed}'), [], [], '', []
    task = 'Your task is to find a(n) living thing. First, focus on the thing. Then, move it to the orange box in the living room.'
    o, history = Observation('You are in the hallway.', look('hallway', rng), 'In your inventory, you see:\n\tan orange'), []
    for t in range(n):
        room, calls = rng.choice(ROOMS), []
        action = rng.choice([f'go to {room}', f'open door to {room}', f'focus on {rng.choice(THINGS)[:18]}', 'wait1', f'move orange to {room}'])
        after = Observation(f'You {action}. The {rng.choice(ROOMS)} is now somewhere else.', look(room, rng), o.inventory if rng.random() < .8 else 'In your inventory, you see:\n\tan orange\n\ta seed')
        fresh = t % 9 == 0
        if fresh:
            note, names = '', names + [f'search the {room} for a living thing']
            subtasks.append(Subtask(names[-1], t, min(n, t+9), '', True, True))
            calls = [call('high', high_prompt(task, names[-20:-1], note, o), high_target(names[-1]))]
        new = f'Agent is in the {room} and the door to the {rng.choice(ROOMS)} is open. [Checked: {", ".join(rng.sample(ROOMS, 3))}]'
        calls += [call('low', low_prompt(names[-1], note, o), low_target(action, False)), call('progress', progress_prompt(names[-1], note, action, after), progress_target(new))]
        if flat: calls = [call('flat', flat_prompt(task, history, o), flat_target(action))]
        steps.append(Step(o, action, .1 if t % 17 == 16 else 0., min(100., 10*(t//17)), rng.random() > .05, len(names)-1, False, note, new, calls))
        history, o, note = history + [(o, action)], after, new
    return Episode('scienceworld', '1.2.3', rng.choice(['find-living-thing', 'boil', 'grow-plant']), variation, 'test', task, steps, subtasks, o, score=float(rng.randint(0, 100)), truncated=True, source='flat' if flat else 'agent', step_limit=n, seed=seed)


STEP = """key => {
  const start = performance.now();
  const root = document.querySelector(".stephrl-viewer");
  root.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  root.offsetHeight;
  return performance.now() - start;
}"""


def step_times(page, presses=100):
    """Milliseconds a step takes, (processor time, wall time) for each of many key presses: script, style and layout, everything but the painting.
    The processor time of the page's thread is the one to read on a machine that does other things as well."""
    session = page.context.new_cdp_session(page)
    session.send('Performance.enable', dict(timeDomain='threadTicks'))
    busy = lambda: sum(m['value'] for m in session.send('Performance.getMetrics')['metrics'] if m['name'] in ('ScriptDuration', 'LayoutDuration', 'RecalcStyleDuration'))
    cpu, wall = [], []
    for i in range(presses):
        key = 'ArrowRight' if i % 50 < 40 else ('End', 'Home', 'ArrowDown', 'r', 'e')[i % 5]
        before = busy()
        wall.append(page.evaluate(STEP, key))
        cpu.append(1000*(busy() - before))
    return sorted(cpu), sorted(wall)


def measure(browser, episodes, folder, repeat):
    path = Path(folder)/'page.html'
    start = time.perf_counter()
    to_html(episodes, path)
    out = dict(episodes=len(episodes), steps=max(len(e.steps) for e in episodes), page_bytes=path.stat().st_size, page_seconds=round(time.perf_counter() - start, 2))
    widget = EpisodeViewer(episodes)
    out |= dict(widget_bytes=len(widget.index) + sum(map(len, widget.packs.values())), episode_bytes=len(widget.packed(0)))
    widget.close()
    opened, cpu, wall = [], [], []
    for _ in range(repeat):
        page = browser.new_context(viewport=dict(width=1400, height=1000)).new_page()
        start = time.perf_counter()
        page.goto(path.as_uri())
        page.locator('.sv-position').wait_for()
        opened.append(1000*(time.perf_counter() - start))
        c, w = step_times(page)
        cpu, wall = sorted(cpu + c), sorted(wall + w)
        page.context.close()
    three = lambda name, times: {f'{name}_ms': round(statistics.median(times), 2), f'{name}_ms_p95': round(times[int(.95*len(times))], 2), f'{name}_ms_worst': round(times[-1], 2)}
    return out | dict(open_ms=round(statistics.median(opened)), open_ms_worst=round(max(opened))) | three('step_cpu', cpu) | three('step_wall', wall)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='results/viewer.json')
    parser.add_argument('--repeat', type=int, default=3)
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright
    cases = {'one episode of 50 steps': lambda: [episode(50)], 'one episode of 500 steps': lambda: [episode(500)], 'one episode of 5,000 steps': lambda: [episode(5000)], 'list of 10': lambda: [episode(50, i) for i in range(10)],
             'list of 1,000': lambda: [episode(10, i) for i in range(1000)], '200 episodes of 50 steps': lambda: [episode(50, i) for i in range(200)], '200 full-history episodes of 50 steps': lambda: [episode(50, i, flat=True) for i in range(200)]}
    results = {}
    with sync_playwright() as p, tempfile.TemporaryDirectory() as folder:
        browser = p.chromium.launch(executable_path=os.environ.get('STEPHRL_CHROME') or shutil.which('chromium') or shutil.which('google-chrome'), args=['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'])
        machine = dict(python=platform.python_version(), chromium=browser.version, cpus=os.cpu_count())
        for name, make in cases.items():
            results[name] = r = measure(browser, make(), folder, args.repeat) | dict(load=round(os.getloadavg()[0], 1))
            print(f'{name}: page {r["page_bytes"]/1e6:.2f} MB, widget {r["widget_bytes"]/1e3:.0f} kB, opens in {r["open_ms"]} ms, a step takes {r["step_cpu_ms"]} ms of processor time (p95 {r["step_cpu_ms_p95"]}), {r["step_wall_ms"]} ms by the clock (load {r["load"]} on {os.cpu_count()} cores)', flush=True)
            Path(args.out).write_text(json.dumps(dict(command=f'python benchmarks/viewer.py --repeat {args.repeat} --out {args.out}', machine=machine, results=results), indent=1) + '\n')
        browser.close()


if __name__ == '__main__': main()
