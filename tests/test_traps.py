"""The sixteen traps of the method: what published code got wrong, each with a test that fails when the trap is put back.

`tests/mutations/` puts every one of them back and demands that the test here notices.
"""
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch


@cache
def smoke():
    "A small model from nothing, and a table with two actions in each of five states."
    from stephrl.policy import Policy
    from stephrl.prompts import low_target
    rows = [dict(role='low', prompt=f'You stand before door {i}.\nAction:', target=low_target(a, False), reward=float(i % 2), rewards=[], n=1, next_prompt='',
                 terminated=True, truncated=False, kind='collected', episode='e') for i in range(5) for a in ('open door', 'walk on')]
    return Policy.new([r[k] for r in rows for k in ('prompt', 'target')], 'smoke', device='cpu'), rows


def story(source='clone', verified=(True, True), done=(True, True), terminated=True):
    "Two subtasks of three actions; every text is different."
    from stephrl.episode import Episode, Observation, Step, Subtask
    see = lambda t: Observation(f'answer {t}', f'room {t}', 'an orange')
    steps = [Step(see(t), f'act {t}', reward=.25*(t in (2, 5)), subtask=t//3, done=t % 3 == 2 and done[t//3], progress=f'note {t}'*(t % 3 > 0),
                  next_progress=f'note {t+1}') for t in range(6)]
    gs = [Subtask(f'subtask {k}', 3*k, 3*k+3, f'note {3*k+3}', done[k], verified[k]) for k in (0, 1)]
    return Episode('toy', '1', 'task', 7, 'train', 'Do it.', steps, gs, see(6), terminated=terminated, truncated=not terminated, source=source)


def rows_of(ep, role):
    from stephrl.transitions import transitions
    return [r for r in transitions(ep) if r['role'] == role]


# --- critics

def test_trap_01_q_sees_the_action():
    "V reads the last prompt token, Q the last target token."
    from stephrl.critics import CriticSet, features
    from stephrl.offline import IQLConfig, LiveCritics
    from stephrl.training import encode_rows
    policy, rows = smoke()
    f = features(policy, rows, precision='no')
    assert (f.target[0] - f.target[1]).abs().max() > 1e-3, 'two actions in one state look the same to Q'
    assert f.at[0] == f.at[1]
    critics = CriticSet(f.target.shape[1], ['low'])
    (v1, q1, _), (v2, q2, _) = critics.values(policy, ['low']*2, [rows[0]['prompt']]*2, [rows[0]['target'], rows[1]['target']])
    assert v1 == v2 and q1 != q2
    live, data = LiveCritics(policy, critics, rows, IQLConfig()), encode_rows(policy, *([r[k] for r in rows] for k in ('prompt', 'target')))
    seen = []
    for i in (0, 1):
        live(policy.pairs(policy.rows([data.pairs[i]])), np.array([i]))
        seen.append(live.means())
    assert abs(seen[0]['v'] - seen[1]['v']) < 1e-5 and abs(seen[0]['q'] - seen[1]['q']) > 1e-5


def test_trap_02_expectile_the_right_way_round():
    from stephrl.iql import expectile_loss
    xs, vs = torch.tensor([0., 1., 2., 3., 10.]), torch.linspace(-1, 11, 12001)
    best = vs[torch.stack([expectile_loss(xs - v, .95) for v in vs]).argmin()].item()
    assert abs(best - 8.52) < .01, best


def test_trap_03_credit_per_sample():
    "(B,) times (B, 1) is (B, B): shapes are asserted, and a row of weight 0 gets no gradient."
    from stephrl.iql import awr_loss, critic_loss
    from stephrl.policy import Policy
    logprob = torch.tensor([-1., -5.], requires_grad=True)
    awr_loss(logprob, torch.tensor([2., 0.])).backward()
    assert logprob.grad.tolist() == [-1., 0.]
    for bad in (lambda: awr_loss(torch.zeros(3, 1), torch.ones(3)), lambda: critic_loss(torch.zeros(3, 1), torch.zeros(3, 1), torch.zeros(3))):
        with pytest.raises(AssertionError): bad()
    policy, rows = smoke()
    assert isinstance(policy, Policy) and policy.logprobs([r['prompt'] for r in rows[:3]], [r['target'] for r in rows[:3]])[0].shape == (3,)


def test_trap_04_the_exponential_is_the_weight():
    from stephrl.critics import CriticSet, features
    from stephrl.offline import IQLConfig, role_data, row_weights, weighted_loss
    policy, rows = smoke()
    f, config = features(policy, rows, precision='no'), IQLConfig(beta=3., w_max=20.)
    critics = CriticSet(f.target.shape[1], ['low'])
    for p in critics.parameters(): p.data *= 3.
    weight, _ = row_weights(critics, f, role_data(rows), config)
    _, _, advantage = critics.advantage('low', f.prompt[f.at], f.target)
    assert (advantage < 0).any(), 'the test needs a bad action'
    torch.testing.assert_close(weight, (3*advantage).exp().clamp(max=20.))
    pairs = policy.forward_pairs([r['prompt'] for r in rows], [r['target'] for r in rows])
    loss, _ = weighted_loss(weight, config)(pairs, np.arange(len(rows)))
    torch.testing.assert_close(loss, -(weight*pairs.logprob).sum())


def test_trap_05_critics_live_in_float32():
    from stephrl.critics import CriticSet
    from stephrl.iql import polyak_, td_targets
    torch.manual_seed(0)
    critics, x = CriticSet(64, ['low']), torch.randn(32, 64)
    assert {p.dtype for p in critics.parameters()} == {torch.float32}
    plain = critics.value('low', x)
    with torch.autocast('cpu', torch.bfloat16): inside = critics.value('low', x)
    assert inside.dtype == torch.float32 and torch.equal(plain, inside)
    y = td_targets(torch.zeros(1, 1), torch.ones(1, dtype=torch.long), torch.zeros(1), torch.ones(1), .99)
    assert abs(y.item() - .99) < 1e-6                                   # bf16 has 0.988
    slow = [torch.ones(1)]
    for _ in range(1000): polyak_(slow, [torch.full((1,), 1.2)], .005)
    assert abs(slow[0].item() - 1.2) < .01                              # bf16 stays at 1
    with pytest.raises(AssertionError): polyak_([torch.ones(1).bfloat16()], [torch.ones(1).bfloat16()], .005)


def one_update(polyak):
    "Slow and online Qs after one update of critics on random features."
    from stephrl.critics import CriticSet, Features
    from stephrl.offline import IQLConfig, RoleData, train_critics
    torch.manual_seed(0)
    n = 16
    f = Features(torch.randn(n, 8), torch.arange(n), torch.full((n,), -1), torch.randn(n, 8), torch.zeros(n))
    data = dict(low=RoleData(torch.arange(n), torch.ones(n, 1), torch.ones(n, dtype=torch.long), torch.ones(n).bool()))
    critics = CriticSet(8, ['low'], hidden=8)
    before = critics.q['low'].w1.detach().clone()
    train_critics(critics, f, data, IQLConfig(critic_updates=1, polyak=polyak, critic_lr=.1))
    return before, critics.q['low'].w1.detach(), critics.slow['low'].w1


def test_trap_06_slow_targets_after_the_step():
    from stephrl.critics import CriticSet
    from stephrl.offline import IQLConfig, LiveCritics
    before, after, slow = one_update(.5)
    torch.testing.assert_close(slow, (before + after)/2)                 # before the step the slow ones would not have moved
    assert IQLConfig().polyak <= .01
    policy, rows = smoke()
    live = LiveCritics(policy, CriticSet(policy.model.config.hidden_size, ['low']), rows, IQLConfig(polyak=.5, critic_lr=.1))
    w = live.critics.q['low'].b2
    w.grad = torch.ones_like(w)
    old = w.detach().clone()
    live.step()
    torch.testing.assert_close(live.critics.slow['low'].b2, (old + w.detach())/2)


def test_trap_07_sum_of_log_probabilities_by_default():
    from stephrl.offline import IQLConfig, weighted_loss
    policy, rows = smoke()
    rows = [rows[0], dict(rows[0], target=' open the very big red door | continue')]
    pairs = policy.forward_pairs([r['prompt'] for r in rows], [r['target'] for r in rows])
    loss = lambda config: weighted_loss(torch.ones(2), config)(pairs, np.arange(2))[0]
    torch.testing.assert_close(loss(IQLConfig()), -pairs.logprob.sum())
    torch.testing.assert_close(loss(IQLConfig(length_normalised=True)), -(pairs.logprob/pairs.length).sum())


# --- transitions

def test_trap_08_only_verified_ends_are_paid_and_cuts_are_no_ends():
    from stephrl.iql import td_targets
    for verified, pays in ((True, 1), (False, 0), (None, 0)):           # the policy says done; only the predicate pays
        last = rows_of(story(verified=(verified, True)), 'low')[2]
        assert (last['reward'], last['terminated'], last['next_prompt']) == (pays, True, '')
    cut = rows_of(story(done=(True, False), verified=(True, False), terminated=False), 'low')[-1]
    assert (cut['reward'], cut['terminated'], cut['truncated']) == (0, False, True) and 'answer 6' in cut['next_prompt']
    ended = rows_of(story(done=(True, False), verified=(True, False)), 'low')[-1]
    assert (ended['reward'], ended['terminated'], ended['truncated']) == (0, True, False)
    high = rows_of(story(done=(True, False), verified=(True, False), terminated=False), 'high')[-1]
    assert (high['terminated'], high['truncated']) == (False, True) and 'Completed: subtask 0\n' in high['next_prompt']
    y = td_targets(torch.zeros(2, 1), torch.ones(2, dtype=torch.long), torch.tensor([cut['terminated'], ended['terminated']]), torch.ones(2), .9)
    torch.testing.assert_close(y, torch.tensor([.9, 0.]))               # the cut is bootstrapped, the end is not


def test_trap_09_a_missing_note_shifts_nothing():
    whole = story('expert')
    holey = replace(whole, steps=[replace(s, next_progress='') if t == 1 else s for t, s in enumerate(whole.steps)])
    want = {r['t']: r for r in rows_of(whole, 'progress')}
    got = rows_of(holey, 'progress')
    assert [r['t'] for r in got] == [0, 2, 3, 4, 5]
    for r in got:
        assert (r['prompt'], r['target'], r['reward'], r['next_prompt']) == tuple(want[r['t']][k] for k in ('prompt', 'target', 'reward', 'next_prompt'))
    assert [r['reward'] for r in rows_of(whole, 'progress')] == [0, 1, .25, 0, 1, 0]     # a note earns what the action that reads it earns


def test_trap_10_no_state_that_nobody_reads():
    from stephrl.prompts import high_prompt, low_prompt, progress_prompt
    first = {r: p.split('\n')[0] for r, p in dict(high=high_prompt('', [], '', story().final), low=low_prompt('', '', story().final),
                                                  progress=progress_prompt('', '', '', story().final)).items()}
    for ep in (story(), story(done=(True, False), verified=(True, False)), story(done=(True, False), verified=(True, False), terminated=False)):
        seen = [s.observation.text for s in ep.steps] + [ep.final.text]
        for role in first:
            for r in rows_of(ep, role):
                assert bool(r['next_prompt']) != r['terminated']
                assert not r['next_prompt'] or (r['next_prompt'].startswith(first[role]) and any(x in r['next_prompt'] for x in seen)), r['next_prompt']


def test_trap_11_every_failure_text_is_an_invalid_action():
    from stephrl.scienceworld import is_valid
    for text in ('No known action matches that input.', 'Unknown action.', 'Ambiguous request: Please enter the number for the action you intended', 'ERROR: Unknown response.'):
        assert not is_valid(text), text
    for text in ('The door is already open.', 'You move to the kitchen.', 'You open the door'): assert is_valid(text), text
    clumsy = story()
    clumsy.steps[0] = replace(clumsy.steps[0], valid=False)
    from stephrl.transitions import transitions
    assert [r['reward'] for r in transitions(clumsy, invalid_penalty=.5) if r['role'] == 'low'][:2] == [-.5, 0]


def test_trap_12_collected_and_expert_rows_stand_side_by_side():
    from stephrl.episode import read_episodes, write_episodes
    from stephrl.rollout import rollout
    from stephrl.agents import RandomValid
    from stephrl.transitions import to_dataset
    both = to_dataset([story('expert'), story('clone')])
    assert len(set(both['id'])) == len(both) == 2*len(to_dataset([story('expert')]))
    assert list(both['kind']).count('expert') == list(both['kind']).count('collected')
    with tempfile.TemporaryDirectory() as d:
        file = write_episodes(Path(d)/'demos.jsonl', [story('expert')])
        rollout(RandomValid(), [('take-lamp', 1)], 'corridor', out=file, step_limit=2, progress=False)
        assert read_episodes(file)[0] == story('expert')


# --- play, measure, choose

class Scripted:
    "A policy that writes given texts and counts how often it is asked."
    def __init__(self, **texts): self.texts, self.asked = texts, []
    def generate(self, prompts, **kwargs):
        from stephrl.decoding import Generation
        self.asked.append((len(prompts), kwargs))
        ends = {'Subtask:': 'high', 'Action:': 'low', 'Note:': 'progress'}
        return [Generation(self.texts[next(r for e, r in ends.items() if p.endswith(e))], 1, 1, 0.) for p in prompts]


def test_trap_13_temperature_reaches_the_sampler():
    from stephrl.agents import StepHRL
    from stephrl.rollout import rollout
    agent = StepHRL(smoke()[0], max_new_tokens=6)
    play = lambda temperature, seed: [c.completion for ep in rollout(agent, [('take-lamp', 1)], 'corridor', temperature=temperature, seed=seed, step_limit=2, progress=False)
                                      for s in ep.steps for c in s.calls]
    greedy = play(0., 0)
    assert play(1., 0) != greedy and play(1., 0) != play(1., 1), 'collection is greedy'
    assert play(1., 0) == play(1., 0) and play(0., 1) == greedy


def test_trap_14_nothing_chosen_on_a_reported_panel(tmp_path):
    from stephrl.agents import RandomValid
    from stephrl.env import Suite
    from stephrl.episode import read_episodes, write_episodes
    from stephrl.evaluate import EvaluationError, check_disjoint
    from stephrl.train import Config, Run
    config = Config.of('smoke', tasks='find-animal', holdout=1)
    run = Run(config, tmp_path)
    write_episodes(tmp_path/'annotated.jsonl', [replace(story('expert'), task='find-animal', variation=v) for v in range(4)])
    learn, held = run.split(read_episodes(tmp_path/'annotated.jsonl'))
    ids = lambda episodes: {(e.task, e.variation) for e in episodes}
    assert len(held) == 1 and len(learn) == 3 and not ids(learn) & ids(held)
    table, heldout = run.tables()
    assert {v for v in table['variation']} == {'0', '1', '2'} and {v for v in heldout['variation']} == {'3'}   # what may choose is not learnt from
    suite = Suite('panel', 'corridor', '1', '', 5, [('take-lamp', 3)])
    check_disjoint(RandomValid(train_ids=[('take-lamp', 1)]), suite)
    with pytest.raises(EvaluationError): check_disjoint(RandomValid(train_ids=[('take-lamp', 3)]), suite)


def test_trap_15_a_crash_is_counted():
    from stephrl.agents import Act, Agent
    from stephrl.env import Suite
    from stephrl.evaluate import CrashedEpisodes, evaluate

    class Stumbles(Agent):
        needs_policy = False
        def episode(self, description, observation, seed=0):
            yield Act('go east')
            raise KeyError('a bug')
    suite = Suite('panel', 'corridor', '1', '', 5, [('take-lamp', 3), ('take-lamp', 4)])
    results = evaluate(Stumbles(), suite, progress=False)
    assert results['crashes'] == 2 and len(results['errors']) == 2 and 'a bug' in results['per_episode'][0]['error']
    with pytest.raises(CrashedEpisodes): evaluate(Stumbles(), suite, progress=False, strict=True)


def test_trap_16_batched_and_parsed():
    from stephrl.agents import MALFORMED, StepHRL
    from stephrl.prompts import parse_low
    from stephrl.rollout import rollout
    for text in ('; True', '', ' ', '| done', ' | continue', 'go east', 'go east |', 'go east | don', 'None'): assert parse_low(text) is None, text
    assert parse_low(' go east | done') == ('go east', True)
    policy = Scripted(high=' find the lamp', low='; True', progress=' Nothing happened.')
    episodes = rollout(StepHRL(policy), [('take-lamp', v) for v in (1, 2, 3, 4)], 'corridor', step_limit=3, n_parallel=4, progress=False)
    assert {s.action for ep in episodes for s in ep.steps} == {MALFORMED} and not any(s.valid for ep in episodes for s in ep.steps)
    assert {n for n, _ in policy.asked} == {4}, 'four episodes in play ask together'
