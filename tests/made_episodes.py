"Episodes made by hand for the viewer's tests: every text and number on the page can be predicted."
from stephrl.episode import Call, Episode, Observation, Step, Subtask

NASTY = '<img src=x onerror="window.pwned=1"></script><script>window.pwned=1</script> {{7*7}} ${7*7} \x1b[31m \u202eesrever\u202c \U000e0041 \u05d0\u05d1 &amp; "\''


def room(name, *things): return f'This room is called the {name}. In it, you see: \n\t' + '\n\t'.join(things)


def call(role, t, critic):
    values = dict(value=.25 + t/100, q=.35 + t/100, advantage=.1) if critic else {}
    return Call(role, f'Prompt of {role} at {t}\n with two lines', f' completion of {role} at {t}', 100 + t, 7, logprob=-.5, **values)


def letters(t):
    "A number as letters (5 is f, 12 is bc): a note with a digit that nothing shows would count as a sign of trouble."
    return ''.join(chr(ord('a') + int(d)) for d in str(t))


def step(t, k, first, critic):
    "Step `t` of subtask `k`: the stove is on at odd steps; invalid at 5, rewards at 3 and 8."
    look = room('kitchen' if t < 6 else 'greenhouse', f'a stove, which is turned {"on" if t % 2 else "off"}', 'a glass jar', *(['a red box'] if t >= 3 else []))
    return Step(Observation(f'Answer {t-1}.' if t else 'Welcome.', look, 'In your inventory, you see:\n\tan orange' + ('\n\ta seed' if t >= 4 else '')), f'action {t}', reward=.25 if t in (3, 8) else 0., valid=t != 5, subtask=k,
                progress='' if first else f'Agent has done {letters(t)} things. [Checked: jar]', next_progress=f'Agent has done {letters(t+1)} things. [Checked: jar]',
                calls=[call(r, t, critic) for r in (('high', 'low', 'progress') if first else ('low', 'progress'))], info=dict(hidden=f'info {t}'))


def made(n=12, task='find-plant', variation=3, source='cloned', score=50., critic=True, size=4, seed=0, **kwargs):
    "`n` steps in subtasks of `size` steps, named 'subtask a', …"
    steps = [step(t, t//size, t % size == 0, critic) for t in range(n)]
    for t, s in enumerate(steps): s.score = 25.*sum(u in (3, 8) for u in range(t+1))
    if n: steps[-1].reward, steps[-1].score = round((score - (steps[-2].score if n > 1 else 0))/100, 4), score
    subtasks = [Subtask(f'subtask {letters(k)}', s, min(s+size, n), f'Final note {k}.', True, k != 1) for k, s in enumerate(range(0, n, size))]
    for g in subtasks[:-1]: steps[g.end-1].done = True
    return Episode('scienceworld', '1.2.3', task, variation, 'test', f'Your task is to do {task}.', steps, subtasks, Observation(f'Answer {n-1}.', room('greenhouse', 'a tall plant'), 'nothing'),
                   score=score, terminated=score >= 100, truncated=score < 100, source=source, seed=seed, **kwargs)


def several():
    "Six episodes: two plays of one variation, a success, a demonstration as it was played, a crash, an empty one."
    crash = made(3, 'boil', 1, score=0.)
    crash.error, crash.truncated = 'EnvDied: the JVM <exited>', False
    plain = made(4, 'melt', 2, source='expert', score=0.)
    for s in plain.steps: s.calls, s.subtask = [], -1
    plain.subtasks = []
    return [made(), made(10, source='cloned+RL', score=100.), made(8, 'use-thermometer', 9, score=100.), plain, crash, made(0, 'freeze', 5, score=0.)]


def nasty():
    "Everything untrusted at once: markup, control and right-to-left characters everywhere, and an observation of 200,000 characters."
    ep = made(6, f'task {NASTY}', NASTY, source=NASTY)
    for t, s in enumerate(ep.steps):
        s.action, s.next_progress, s.observation.text, s.observation.look = f'{t} {NASTY}', NASTY + str(t), NASTY, f'{NASTY}\n\tline {t}'
        for c in s.calls: c.prompt = c.completion = NASTY
        s.info = {NASTY: NASTY}
    ep.description, ep.error, ep.subtasks[0].name, ep.subtasks[0].final_progress, ep.meta = NASTY, NASTY, NASTY, NASTY, {NASTY: NASTY}
    ep.steps[2].observation.text = 'x'*200_000 + 'THE END'
    ep.steps[3].calls[0].role = NASTY
    return ep
