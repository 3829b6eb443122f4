"Results that can be believed: known intervals, resumption, refusals, crashes that cannot hide."
import json, math
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
import hazards  # noqa: F401 (registers an environment)
from stephrl.agents import Act, Agent, Flat, RandomValid, StepHRL
from stephrl.decoding import Generation
from stephrl.env import EnvError, Suite, load_suite, save_suite, suite_names
from stephrl.episode import read_episodes
from stephrl.evaluate import (CrashedEpisodes, EvaluationError, bootstrap_ci, check_disjoint, evaluate, history_tokens, markdown, paired_difference,
                              prompt_growth, summarise, table, wilson, within_slope)
from stephrl.prompts import flat_prompt
from stephrl.rollout import rollout

PANEL = Suite('toy', 'hazards', '1', '', 12, [('take-lamp', v) for v in (1, 2, 3, 4)], [100., 100., 100., 50.])
KEYS = 'suite protocol decoding episodes score ci95 crashes tokens_per_step per_task per_episode gold_ceiling seconds versions seed'.split()


class Walker(Agent):
    "Finds the lamp; in the variations of `crash_in` it burns the house down."
    kind, needs_policy = 'walker', False
    crash_in = ()
    def episode(self, description, observation, seed=0):
        ended, n = False, 0
        while not ended:
            n += 1
            if n - 1 in self.crash_in: yield Act('light fuse')
            observation, ended = yield Act('take lamp' if 'lamp' in observation.look else 'go east')


class Talker:
    "A model with a tokenizer that counts words; it walks east and its notes keep their length."
    class tokenizer:
        def __init__(self, text, **_): self.input_ids = text.split()
    def generate(self, prompts, **_):
        say = lambda p: 'find the lamp' if p.startswith('Name') else 'go west | continue' if p.startswith('Choose') and 'Subtask' in p else 'go west' if p.startswith('Choose') else 'Agent went west.'
        return [Generation(say(p), len(p.split()), len(say(p).split()) + 1, -1.) for p in prompts]


def test_results_have_every_key_and_survive_json(tmp_path):
    out = tmp_path/'r'/'results.json'
    r = evaluate(Walker(train_ids=[('take-lamp', 0)]), PANEL, out=out, progress=False)
    assert set(KEYS) <= set(r) and r['score'] == 100 and r['gold_ceiling'] == 87.5 and r['crashes'] == 0
    assert set(r['tokens_per_step']) >= {'mean', 'p95', 'by_role'}
    again = json.loads(out.read_text())
    assert again['per_episode'] == r['per_episode'] and again['ci95'] == r['ci95'] == [100, 100]
    for word in ('toy', 'hazards 1', '4 episodes', '12 actions', 'free decoding', 'greedy', 'seed 0', 'o_t = answer + room + inventory'): assert word in r['protocol']
    assert r['train_ids'] == dict(number=1, disjoint=True) and r['success_ci95'] == wilson(4, 4)


def test_resuming_plays_only_what_is_missing(tmp_path):
    out = tmp_path/'results.json'
    evaluate(Walker(), PANEL.select(limit=2), out=out, progress=False)
    first = read_episodes(tmp_path/'results.episodes.jsonl')
    r = evaluate(Walker(), PANEL, out=out, progress=False)
    assert read_episodes(tmp_path/'results.episodes.jsonl')[:2] == first and r['episodes'] == 4


def test_a_crash_is_never_a_silent_zero(tmp_path, capsys): # trap 15
    agent, out = Walker(), tmp_path/'results.json'
    agent.crash_in = (2,)
    with pytest.raises(CrashedEpisodes, match='the house burnt down'): evaluate(agent, PANEL, out=out, strict=True, progress=False)
    r = json.loads(out.read_text())                                   # stored before raising
    assert r['crashes'] == 3 and len(r['errors']) == 3 and '3 of 4 episodes CRASHED' in capsys.readouterr().out
    assert [e['error'] is None for e in r['per_episode']] == [True, False, False, False]
    assert r['per_task']['take-lamp']['crashes'] == 3 and table(r).loc['all', 'crashes'] == 3


def test_refusals(tmp_path):
    with pytest.raises(EvaluationError, match='trained on 1 of the 4 episodes'): evaluate(Walker(train_ids=[('take-lamp', '3')]), PANEL)   # the text '3' too
    with pytest.raises(EnvError, match='was made for hazards 7'): evaluate(Walker(), Suite('old', 'hazards', '7', '', 12, PANEL.episodes))
    with pytest.raises(ValueError, match='unse'): evaluate(Walker(), 'unseeen')
    with pytest.raises(ValueError, match="Did you mean 'take-lamp'"): evaluate(Walker(), PANEL, tasks=['take-lump'])
    with pytest.raises(ValueError, match='expected one of free, valid'): evaluate(Walker(), PANEL, decoding='freee')


def test_every_reported_panel_is_disjoint_from_train():
    from stephrl.env import make_env
    for name in suite_names():
        suite = load_suite(name)
        if suite.env != 'scienceworld' or name.endswith(('select', 'shifted')): continue      # those choose checkpoints: they are train variations
        with make_env('scienceworld') as env: train = {(t, v) for t in {e[0] for e in suite.episodes} for v in env.variations(t, 'train')}
        check_disjoint(Walker(train_ids=train), suite)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from('abc')), min_size=1, max_size=30))
def test_intervals_hold_the_mean(rows):
    values, strata = zip(*rows)
    low, high = bootstrap_ci(values, strata, n=500)
    assert low - 1e-6 <= np.mean(values) + 1e-6 and np.mean(values) - 1e-6 <= high + 1e-6 or len(values) < 8
    assert min(values) - 1e-6 <= low <= high <= max(values) + 1e-6


def test_bootstrap_covers():
    "Of 300 panels drawn from known tasks, about 95% of the intervals hold the true mean."
    rng, hits = np.random.default_rng(0), 0
    for _ in range(300):
        values = np.r_[rng.uniform(0, 100, 30), rng.choice([0., 100.], 30), rng.normal(80, 5, 30)]
        low, high = bootstrap_ci(values, ['a']*30 + ['b']*30 + ['c']*30, n=500)
        hits += low <= 60 <= high
    assert .90 < hits/300 < .99


def test_wilson_known_values():
    for wins, n, low, high in [(81, 263, .2553, .3662), (15, 148, .0624, .1605), (0, 20, 0, .1611), (1, 29, .0061, .1718)]:   # Newcombe (1998), table I
        assert np.allclose(wilson(wins, n), [low, high], atol=2e-4)
    assert all(map(math.isnan, wilson(0, 0)))


def test_prompts_of_the_hierarchy_do_not_grow_and_the_history_does():
    model = Talker()
    hrl = rollout(StepHRL(model), PANEL.episodes, 'hazards', step_limit=12, progress=False)
    flat = rollout(Flat(model), PANEL.episodes, 'hazards', step_limit=12, progress=False)
    g = prompt_growth(hrl, model)
    assert g['ratio'] < .1 and g['ci95'][0] <= g['slope'] <= g['ci95'][1] and g['progress_tokens']['empty'] == 0
    assert g['full_history']['slope'] > 5
    measured = within_slope([[s.calls[0].prompt_tokens for s in e.steps] for e in flat])     # what a flat agent really read
    assert abs(prompt_growth(flat, model, role='flat')['ratio'] - 1) < 1e-6 and abs(measured - g['full_history']['slope']) < .5
    for e in flat:                                                                            # and step by step, to the token
        past = [(s.observation, s.action) for s in e.steps]
        assert history_tokens(e, lambda text: len(text.split())) == [len(flat_prompt(e.description, past[:t], s.observation).split()) for t, s in enumerate(e.steps)]


def test_summary_of_nothing_and_tables():
    r = summarise([])
    assert r['episodes'] == 0 and r['score'] is None and r['crashes'] == 0
    full = evaluate(RandomValid(), PANEL, progress=False)
    text = markdown(table([full, full]), index=False)
    assert text.count('\n') == 3 and '| random | toy | free | 4 |' in text


def test_paired_difference_needs_the_same_episodes():
    a, b = evaluate(Walker(), PANEL, progress=False), evaluate(RandomValid(), PANEL, progress=False)
    d = paired_difference(a, b)
    assert abs(d['difference'] - (a['score'] - b['score'])) < 1e-9 and d['ci95'][0] <= d['difference'] <= d['ci95'][1]
    with pytest.raises(EvaluationError, match='cannot be paired'): paired_difference(a, evaluate(Walker(), PANEL.select(limit=3), progress=False))
    with pytest.raises(EvaluationError, match='as many results'): paired_difference([a, a], b)


def test_a_panel_file(tmp_path):
    path = save_suite(PANEL, tmp_path/'toy.json')
    assert evaluate(Walker(), path, limit=2, progress=False)['episodes'] == 2
