"""Choose the episodes of tutorial 2 from the evaluation of a real agent and ship them with the package.

    stephrl evaluate --agent tiny --suite unseen --out runs/unseen.json
    python tutorials/make_watched.py runs/unseen.episodes.jsonl
    jupyter nbconvert --to notebook --execute --inplace tutorials/02_watch_an_agent.ipynb
    python tutorials/make_screenshots.py

Three plays of unseen variations: of one task, a solved one and the shortest failed one whose notes show a sign of trouble; and the longest of the others that earned
something and was not solved. Says what is missing when an agent is too good or too bad for that.
"""
import argparse
from pathlib import Path
from stephrl.episode import read_episodes, write_episodes
from stephrl.view_model import issues, outcome

OUT = Path(__file__).parent.parent/'stephrl'/'data'/'watched.jsonl'


def signs(ep, role=None): return [(t, i) for t in range(len(ep.steps)) for i in issues(ep, t) if role in (None, i['role'])]


def badness(ep):
    "How well a failure shows a note that went wrong: 0, a number that nobody read off; 1, a fact that was lost; 2, an empty note; 3, nothing of the kind."
    texts = [i['text'] for _, i in signs(ep, 'progress')]
    return next((k for k, words in enumerate(('note says', 'note lost', 'empty note')) if any(words in x for x in texts)), 3)


def choose(episodes):
    "(solved, failed, long); raises SystemExit when the episodes do not hold them."
    whole = [e for e in episodes if e.steps and not e.error]
    solved = [e for e in whole if outcome(e) == 'success']
    failed = [e for e in whole if outcome(e) == 'failure' and badness(e) < 3 and any(s.task == e.task for s in solved)]
    if not failed: raise SystemExit('these episodes hold no failure with a sign of trouble in its notes beside a solved play of the same task: take those of another agent')
    second = min(failed, key=lambda e: (badness(e), len(e.steps), e.id))
    first = min((s for s in solved if s.task == second.task), key=lambda e: (not signs(e), len(e.steps), e.id))
    partly = [e for e in whole if outcome(e) == 'partial']
    if not partly: raise SystemExit('these episodes hold no play that was solved partly: take those of another agent')
    return [first, second, max(partly, key=lambda e: (len(e.steps), len({s.action for s in e.steps}), e.id))]


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('episodes', help='JSONL file of an evaluation')
    chosen = choose(read_episodes(parser.parse_args().episodes))
    for e in chosen: e.meta = dict(made_by='stephrl evaluate --agent tiny --suite unseen, then tutorials/make_watched.py')
    OUT.parent.mkdir(exist_ok=True)
    print(write_episodes(OUT, chosen), *[f'{e.task} {e.variation}: {e.source}, score {e.score:.0f}, {len(e.steps)} steps' for e in chosen], sep='\n')
