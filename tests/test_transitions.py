"Laws that hold for the transitions of any episode: random plays of the real agent loop, with a writer that knows nothing."
import random
from dataclasses import replace

from hypothesis import given, settings, strategies as st

from stephrl.agents import StepHRL
from stephrl.decoding import Generation
from stephrl.episode import Observation
from stephrl.player import play
from stephrl.prompts import parse_low
from stephrl.transitions import low_rows, progress_rows, subtask_end, to_dataset, transitions


class Writer:
    "Writes something of the right form, and now and then something of no form at all."
    def __init__(self, seed, done, malformed): self.lots, self.done, self.malformed = random.Random(seed), done, malformed

    def generate(self, prompts, max_new_tokens=64, **_):
        return [Generation(self.text(p), len(p), 5, -1.) for p in prompts]

    def text(self, prompt):
        if self.lots.random() < self.malformed: return self.lots.choice(['', ' ', ' open  door', '| done'])
        if prompt.endswith('Action:'): return f' act {self.lots.randrange(5)} | {"done" if self.lots.random() < self.done else "continue"}'
        return f' {"subtask" if prompt.endswith("Subtask:") else "note"} {self.lots.randrange(1000)}'


class Toy:
    "Answers with numbers, pays at random, ends at random."
    name, version, step_limit = 'toy', '1', 12
    def __init__(self, seed, end): self.lots, self.end = random.Random(seed), end
    def see(self): return Observation(f'answer {self.lots.randrange(10**6)}', f'room {self.lots.randrange(9)}', 'an orange')
    def reset(self, task, variation, seed=0): self.t = 0; return self.see(), dict(description='Do it.', score=0.)
    def step(self, action):
        self.t += 1
        return self.see(), self.lots.choice([0., 0., .25]), self.lots.random() < self.end, self.t >= self.step_limit, dict(score=0., valid=self.lots.random() < .8)


@st.composite
def rollouts(draw):
    seed, p = draw(st.integers(0, 10**6)), st.sampled_from([0., .1, .5])
    agent = StepHRL(Writer(seed, draw(p), draw(st.sampled_from([0., .2]))), max_subtask_steps=draw(st.sampled_from([1, 3, 30])), env='toy')
    ep = play(agent, Toy(seed, draw(p)), 'task', 0)
    lots = random.Random(seed)
    return replace(ep, subtasks=[replace(g, verified=lots.choice([True, False, None])) for g in ep.subtasks])


def forgotten(ep): return replace(ep, steps=[replace(s, calls=[]) for s in ep.steps])
def following(rows):
    groups = {}
    for r in rows: groups.setdefault((r['role'], r['subtask'] if r['role'] != 'high' else 0), []).append(r)
    return [pair for g in groups.values() for pair in zip(g, g[1:])]


@settings(max_examples=30, deadline=None)
@given(rollouts())
def test_next_prompt_is_the_prompt_that_follows(ep):
    rows = transitions(ep)
    for r, after in following(rows):
        assert r['next_prompt'] == after['prompt']
        assert not (r['terminated'] or r['truncated']) or r['role'] == 'progress'
    for r in rows:
        assert not (r['terminated'] and r['truncated'])
        assert r['terminated'] == (r['next_prompt'] == '')
    assert len({r['id'] for r in rows}) == len(rows)


@settings(max_examples=30, deadline=None)
@given(rollouts())
def test_rewards_add_up(ep):
    rows = transitions(ep)
    high, low = ([r for r in rows if r['role'] == x] for x in ('high', 'low'))
    assert abs(sum(sum(r['rewards']) for r in high) - sum(s.reward for s in ep.steps)) < 1e-9
    assert [r['n'] for r in high] == [g.end - g.start for g in ep.subtasks]
    assert sum(r['reward'] for r in low) == sum(subtask_end(ep, k).reward for k in range(len(ep.subtasks)))
    for k, g in enumerate(ep.subtasks):                      # paid at most once, at the end, and only when it was verified
        assert sum(r['reward'] for r in low if r['subtask'] == k) in ((0, 1) if g.verified else (0,))


@settings(max_examples=30, deadline=None)
@given(rollouts(), st.sampled_from([0., .5]))
def test_a_note_earns_what_the_action_that_reads_it_earns(ep, penalty):
    rows = transitions(ep, invalid_penalty=penalty)
    low = {r['t']: r for r in rows if r['role'] == 'low'}
    for r in rows:
        if r['role'] != 'progress': continue
        g = ep.subtasks[r['subtask']]
        if r['t'] < g.end - 1: assert r['reward'] == low[r['t']+1]['reward']
        else: assert r['terminated'] and abs(r['reward'] - sum(s.reward for x in ep.subtasks[r['subtask']+1:r['subtask']+2] for s in ep.steps[x.start:x.end])) < 1e-9


@settings(max_examples=30, deadline=None)
@given(rollouts())
def test_recorded_and_rebuilt_prompts_agree(ep):
    "Training rebuilds what an agent reads; a difference of one character would be another problem."
    recorded, rebuilt = ({r['id']: r for r in transitions(e)} for e in (ep, forgotten(ep)))
    calls = {(t, c.role): c for t, s in enumerate(ep.steps) for c in s.calls}
    for i, r in rebuilt.items():
        assert (recorded[i]['prompt'], recorded[i]['next_prompt']) == (r['prompt'], r['next_prompt'])
        c = calls[r['t'], r['role']]
        assert recorded[i]['target'] == c.completion
        if r['role'] == 'low' and parse_low(c.completion): assert c.completion == r['target']


@settings(max_examples=20, deadline=None)
@given(rollouts(), st.data())
def test_a_missing_note_moves_no_other_row(ep, data):
    ep = forgotten(ep)
    noted = [t for t, s in enumerate(ep.steps) if s.next_progress]
    if not noted: return
    gone = data.draw(st.sampled_from(noted))
    holey = replace(ep, steps=[replace(s, next_progress='') if t == gone else s for t, s in enumerate(ep.steps)])
    for k in range(len(ep.subtasks)):
        whole = {r['id']: r for r in progress_rows(ep, k)}
        for r in progress_rows(holey, k):
            same = whole[r['id']]
            assert (r['prompt'], r['target'], r['reward']) == (same['prompt'], same['target'], same['reward'])
            assert r['next_prompt'] in (same['next_prompt'], '')     # '' where the note that would follow is the missing one


def test_every_state_is_one_that_the_policy_can_read():
    ep = play(StepHRL(Writer(3, .1, 0.), env='toy'), Toy(3, 0.), 'task', 0)
    assert ep.truncated
    seen = {ep.observation_after(t).text for t in range(len(ep.steps))}
    for r in transitions(ep):
        if r['next_prompt']: assert any(text in r['next_prompt'] for text in seen)


def test_table_keeps_every_value():
    ep = play(StepHRL(Writer(1, .3, .1), env='toy'), Toy(1, .05), 'task', 0)
    assert to_dataset([ep]).to_list() == transitions(ep)
    assert all(isinstance(r['variation'], str) for r in low_rows(ep, 0))
