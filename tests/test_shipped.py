"The agent that ships for ScienceWorld. (That of ALFWorld: test_alfworld.py.)"
from stephrl.agents import SHIPPED, load_agent
from stephrl.env import load_suite
from stephrl.rollout import rollout

REPORTED = ('unseen', 'seen', 'all30', 'all30_seen', 'quick', 'quick_fresh', 'quick_fresh_2')
LEARNT = ('find-living-thing', 'find-animal', 'lifespan-longest-lived', 'chemistry-mix-paint-secondary-color')


def test_the_shipped_agent_plays():
    "Small, its backbone included trained on no variation of a reported panel, and it wins most of eight short games that it has not seen."
    assert sum(f.stat().st_size for f in (SHIPPED/'tiny').rglob('*') if f.is_file()) <= 25e6
    agent = load_agent('tiny')
    met = {tuple(i) for i in agent.train_ids}
    assert len(met) > 1000 and len({t for t, _ in met}) >= 24
    for name in REPORTED: assert not met & {tuple(e) for e in load_suite(name).episodes}, name
    games = [e for t in LEARNT for e in load_suite('unseen').select(2, t).episodes]
    episodes = rollout(agent, games, 'scienceworld', n_parallel=8, progress=False)
    assert len(episodes) == 8 and sum(ep.score == 100 for ep in episodes) >= 5, [(ep.task, ep.variation, ep.score) for ep in episodes]
    assert all(s.next_progress for ep in episodes for s in ep.steps)      # it takes notes
