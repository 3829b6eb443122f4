"Rollouts under fire: killed workers, interrupted processes, agents that do anything, the real simulator."
import random, signal, subprocess, sys, time
from pathlib import Path
import pytest
from hypothesis import given, settings, strategies as st
from stephrl.agents import MALFORMED, Act, Agent, Ask, Begin, Flat, Note, RandomValid, StepHRL, Valid
from stephrl.bc import clone
from stephrl.decoding import Generation

from stephrl.episode import Observation, from_dict, read_episodes, to_dict
from stephrl.player import play
from stephrl.policy import Policy
from stephrl.prompts import low_prompt
from stephrl.rollout import RolloutError, rollout
from stephrl.training import TrainConfig
from stephrl.transitions import subtask_end
from hazards import Hazards

HERE = Path(__file__).parent
PANEL = [('take-lamp', v) for v in (1, 2, 3, 4)]


class Echo:
    "A model that answers from a list, over and over, and remembers how it was called."
    def __init__(self, *texts): self.texts, self.calls, self.n = texts, [], 0
    def generate(self, prompts, **kwargs):
        self.calls.append((len(prompts), kwargs))
        self.n += len(prompts)
        return [Generation(self.texts[(self.n - len(prompts) + i) % len(self.texts)], len(p.split()), 1, -1.) for i, p in enumerate(prompts)]


# --- the record

TEXTS = st.sampled_from(['go east | continue', 'go west | done', 'take lamp | done', '; True', '', '\n', 'go to the study', '| done', 'a | b | continue', 'Agent is here.'])


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=9), cap=st.integers(1, 5), parallel=st.integers(1, 5), limit=st.integers(1, 9))
def test_whatever_the_model_writes_the_record_is_whole(texts, cap, parallel, limit):
    model = Echo(*texts)
    episodes = rollout(StepHRL(model, max_subtask_steps=cap), PANEL, 'hazards', n_parallel=parallel, step_limit=limit, progress=False)
    assert sum(len(s.calls) for ep in episodes for s in ep.steps) == model.n          # every call is in the record, once
    for ep in episodes:
        assert ep.error is None and from_dict(to_dict(ep)) == ep
        assert ep.terminated != ep.truncated and len(ep.steps) <= limit
        assert [g.start for g in ep.subtasks[1:]] == [g.end for g in ep.subtasks[:-1]]     # no gaps
        assert all(0 < g.end - g.start <= cap for g in ep.subtasks) and ep.subtasks[-1].end == len(ep.steps)
        for t, s in enumerate(ep.steps):
            g = ep.subtask_of(t)
            assert g.start <= t < g.end
            assert [c.role for c in s.calls] == ['high']*(t == g.start) + ['low', 'progress']
            assert s.progress == ('' if t == g.start else ep.steps[t-1].next_progress)
            assert s.done == (t == g.end - 1 and g.said_done)
            low = next(c for c in s.calls if c.role == 'low').completion
            if s.action == MALFORMED: assert not s.valid and not s.done and '| done' not in low[1:] and '| continue' not in low
            assert s.action != 'None'
        assert all(g.final_progress == ep.steps[g.end-1].next_progress for g in ep.subtasks)


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=9), cap=st.integers(1, 5), limit=st.integers(1, 9))
def test_a_careful_agent_believes_no_refused_action(texts, cap, limit):
    for ep in rollout(StepHRL(Echo(*texts), careful=True, max_subtask_steps=cap), PANEL, 'hazards', step_limit=limit, progress=False):
        for k, g in enumerate(ep.subtasks):
            steps = ep.steps[g.start:g.end]
            assert g.said_done == (steps[-1].done and steps[-1].valid)
            assert not any(s.done and s.valid for s in steps[:-1])                   # what was believed ended it
            if len(steps) == cap and not g.said_done and g.end < len(ep.steps): assert subtask_end(ep, k) == (0., False, True)
            assert ep.steps[g.start].calls[0].prompt.count(f'Completed: {"; ".join(x.name for x in ep.subtasks[:k] if x.said_done) or "-"}') == 1


def test_a_careful_agent_leaves_dead_ends():
    said = dict(high=' walk', low=' go east | continue', progress=' Walked.')
    met = rollout(StepHRL(Echo(said['high'], said['low'], said['progress']), max_subtask_steps=1), PANEL, 'hazards', step_limit=8, n_parallel=1, progress=False)
    rows = [dict(role=c.role, prompt=c.prompt, target=said[c.role], task='t', kind='expert', episode='e') for e in met for s in e.steps for c in s.calls]
    model = Policy.new([r[k] for r in rows for k in ('prompt', 'target')], 'smoke', seed=1)
    clone(model, rows, TrainConfig(max_updates=40, lr=3e-3, precision='no'))           # it goes east, into the wall
    refused = lambda ep: [(s.subtask, c.prompt, c.completion) for s in ep.steps for c in s.calls if c.role == 'low' and not s.valid]
    def plays(careful, n): return rollout(StepHRL(model, careful=careful, max_new_tokens=20), PANEL, 'hazards', step_limit=12, n_parallel=n, progress=False)
    assert all(len(set(refused(ep))) < len(refused(ep)) for ep in plays(False, 4))
    for ep in plays(True, 4): assert len(set(refused(ep))) == len(refused(ep)) > 2
    assert [[s.action for s in e.steps] for e in plays(True, 4)] == [[s.action for s in e.steps] for e in plays(True, 1)]     # alone as in company


def test_cap_and_completed_subtasks():
    model = Echo('wait', 'go east | continue', 'East.', 'go west | continue', 'West.')
    ep, = rollout(StepHRL(model, max_subtask_steps=2), [('take-lamp', 3)], 'hazards', step_limit=4, progress=False)
    assert [(g.name, g.start, g.end, g.said_done, g.final_progress) for g in ep.subtasks] == [('wait', 0, 2, False, 'West.'), ('wait', 2, 4, False, 'West.')]
    second = ep.steps[2].calls[0].prompt
    assert 'Completed: -' in second and 'Progress: West.' in second              # given up is not completed


# --- batching

def test_questions_of_all_episodes_share_calls():
    model = Echo('go east')
    rollout(Flat(model), PANEL*4, 'hazards', step_limit=5, n_parallel=16, progress=False)
    assert [n for n, _ in model.calls] == [16]*5


def test_temperature_and_seeds_reach_the_model(): # trap 13
    model = Echo('go east')
    rollout(Flat(model), PANEL, 'hazards', step_limit=2, temperature=.7, progress=False)
    (n, first), (_, second) = model.calls
    assert first['temperature'] == second['temperature'] == .7
    assert len(set(first['seed'] + second['seed'])) == 2*n                               # every question has a stream of its own


def test_what_the_environment_accepts_stands_and_the_rest_is_picked_from_its_list(): # both ways of playing
    for run in (lambda agent: rollout(agent, [('take-lamp', 0)], 'hazards', step_limit=1, decoding='valid', progress=False)[0],
                lambda agent: play(agent, Hazards(step_limit=1), 'take-lamp', 0, decoding='valid')):
        model = Echo('go east')
        ep = run(Flat(model))
        assert len(model.calls) == 1 and 'choices' not in model.calls[0][1] and [c.role for c in ep.steps[0].calls] == ['flat']
        model = Echo('go up', 'take lamp')
        ep = run(Flat(model))
        assert model.calls[1][1]['choices'] == [[' go east', ' take lamp']] and ep.steps[0].action == 'take lamp'
        assert [(c.role, c.completion) for c in ep.steps[0].calls] == [('refused', 'go up'), ('flat', 'take lamp')]
        model = Echo('look for it', 'go up | done', 'go east | done', 'East.')
        ep = run(StepHRL(model))
        choices = [kw.get('choices') for _, kw in model.calls]
        assert choices[:2] + choices[3:] == [None]*3 and ' go east | done' in choices[2][0] and len(choices[2][0]) == 4
        assert [c.role for c in ep.steps[0].calls] == ['high', 'refused', 'low', 'progress'] and ep.steps[0].action == 'go east'


def test_a_draft_that_was_cut_off_is_no_action():
    class Long(Echo):
        def generate(self, prompts, **kw): return [Generation(g.text, g.prompt_tokens, 5 if kw.get('choices') else kw['max_new_tokens'], 0.) for g in super().generate(prompts, **kw)]
    model = Long('go east')
    ep, = rollout(Flat(model), [('take-lamp', 0)], 'hazards', step_limit=1, decoding='valid', progress=False)
    assert len(model.calls) == 2 and ep.steps[0].action == 'go east'


def test_play_and_rollout_agree():
    make = lambda: StepHRL(Echo('walk', 'go east | continue', 'Walked.'))
    a = play(make(), Hazards(), 'take-lamp', 3)
    b, = rollout(make(), [('take-lamp', 3)], 'hazards', step_limit=12, progress=False)
    assert a.steps == b.steps and a.subtasks == b.subtasks and a.id == b.id


# --- faults

@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), parallel=st.integers(1, 6))
def test_agents_that_do_anything_harm_nobody_else(seed, parallel):
    class Chaos(Agent):
        kind, needs_policy = 'chaos', False
        def episode(self, description, observation, seed=0):
            lots = random.Random(seed + self.options['salt'])
            for _ in range(9):
                yield lots.choice([Act('go west'), Act('go east'), Act('light fuse'), Begin('x'), Note('y'), Valid(), Ask('odd', 'p'), 3, None, Act('take lamp')])
    panel = PANEL*3
    episodes = rollout(Chaos(Echo('?'), salt=seed), panel, 'hazards', step_limit=6, n_parallel=parallel, progress=False)
    assert [(e.task, e.variation) for e in episodes] == panel and len({e.id for e in episodes}) == len(panel)
    for ep in episodes:
        from_dict(to_dict(ep))
        assert bool(ep.error) + ep.terminated + ep.truncated + ep.meta.get('gave_up', False) >= 1


def test_unknown_task_is_an_error_for_the_caller():
    with pytest.raises(ValueError, match="Did you mean 'take-lamp'"): rollout(RandomValid(), [('take-lmap', 0)], 'hazards', progress=False)


RUN = '''
import sys; sys.path[:0] = [{here!r}]
import hazards
from stephrl.agents import RandomValid
from stephrl.rollout import rollout
print('ready', flush=True)
rollout(RandomValid(), [('take-lamp', v % 5) for v in range(40)], 'hazards', env_options=dict(delay=.02), out={out!r}, step_limit=12, n_parallel=3, progress=False)
'''


@pytest.mark.parametrize('sig', [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_rollout_goes_on(tmp_path, sig):
    out = tmp_path/'episodes.jsonl'
    child = subprocess.Popen([sys.executable, '-c', RUN.format(here=str(HERE), out=str(out))], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while not (out.exists() and out.stat().st_size > 20_000) and child.poll() is None: time.sleep(.02)
    child.send_signal(sig)
    assert child.wait(20) != 0
    before = read_episodes(out, cut_ok=True)
    assert 0 < len(before) < 40
    episodes = rollout(RandomValid(), [('take-lamp', v % 5) for v in range(40)], 'hazards', out=out, step_limit=12, n_parallel=3, progress=False)
    after = read_episodes(out)
    assert after[:len(before)] == before and len(after) == len(episodes) == 40 == len({e.id for e in after})


def test_a_file_made_otherwise_is_refused(tmp_path):
    out, texts = tmp_path/'e.jsonl', [low_prompt('x', '', Observation('hall'))]*2
    a, b = (StepHRL(Policy.new(texts, 'smoke', seed=s), max_new_tokens=4) for s in (0, 1))
    run = lambda agent, **kw: rollout(agent, [('take-lamp', 0)], 'hazards', out=out, progress=False, **dict(step_limit=2) | kw)
    run(a)
    for agent, kw, field in [(b, {}, 'weights'), (a, dict(temperature=1.), 'temperature'), (a, dict(step_limit=3), 'step_limit'), (a, dict(decoding='valid'), 'decoding')]:
        with pytest.raises(RolloutError, match=field): run(agent, **kw)
    assert len(run(a)) == len(read_episodes(out)) == 1


class Suicidal(Agent):
    "Walks east; in the named variation it kills the process of its environment."
    kind, needs_policy, fatal, played = 'suicidal', False, 3, 0
    def episode(self, description, observation, seed=0):
        self.played += 1
        here, ended = self.played, False
        for t in range(50):
            if ended: return
            observation, ended = yield Act('kill' if (here, t) == (self.fatal, 1) else 'take lamp' if 'lamp' in observation.look else 'go east')


def test_a_killed_worker_costs_its_own_episodes_only():
    panel = PANEL*3
    episodes = rollout(Suicidal(), panel, 'hazards', step_limit=9, n_parallel=4, workers=2, progress=False)
    lost = [i for i, e in enumerate(episodes) if e.error]
    assert lost == [0, 2]                                       # slots 0 and 2 lived in the process that died
    assert all('EnvDied: worker process' in episodes[i].error and len(episodes[i].steps) == 1 for i in lost)
    assert all(e.score == 100 and e.terminated for i, e in enumerate(episodes) if i not in lost)


# --- the real simulator

TASKS = [('find-animal', 0), ('find-animal', 1), ('lifespan-longest-lived', 0), ('use-thermometer', 0), ('find-plant', 0), ('chemistry-mix', 0)]


def test_scienceworld_survives_a_killed_worker(tmp_path):
    import psutil
    class Gunman(RandomValid):
        kind, shots = 'gunman', 0
        def episode(self, *args):
            inner, answer = super().episode(*args), None
            for t in range(99):
                try: message = inner.send(answer)
                except StopIteration: return
                if t == 9 and not Gunman.shots:
                    Gunman.shots = 1
                    workers = [p for p in psutil.Process().children() if 'spawn_main' in ' '.join(p.cmdline())]
                    workers[0].kill()
                answer = yield message
    out = tmp_path/'episodes.jsonl'
    episodes = rollout(Gunman(), TASKS, 'scienceworld', step_limit=8, n_parallel=4, workers=2, out=out, split='train', progress=False)
    assert Gunman.shots == 1 and [(e.task, e.variation) for e in episodes] == TASKS
    lost = [e for e in episodes if e.error]
    assert 1 <= len(lost) <= 2 and all('EnvDied' in e.error for e in lost)
    for e in episodes:
        assert e.error or e.terminated or (e.truncated and len(e.steps) == 8)
        assert all(s.observation.look and s.observation.inventory and s.observation.text for s in e.steps)
        assert abs(100*sum(s.reward for s in e.steps) - e.score) < 1e-6
    steps = [s for e in episodes for s in e.steps]
    assert sum(s.valid for s in steps) > .6*len(steps)      # a valid action can still be ambiguous
    assert sorted(e.id for e in read_episodes(out)) == sorted(e.id for e in episodes)


def test_scienceworld_does_not_know_the_malformed_action():
    model = Echo('look around', '; True')
    ep, = rollout(Flat(model), [('find-animal', 0)], 'scienceworld', step_limit=2, progress=False)
    hrl, = rollout(StepHRL(Echo('go', '; True', 'Nothing.')), [('find-animal', 0)], 'scienceworld', step_limit=3, progress=False)
    assert ep.steps[0].valid and not ep.steps[1].valid
    assert [(s.action, s.valid) for s in hrl.steps] == [(MALFORMED, False)]*3 and 'No known action' in hrl.final.text
