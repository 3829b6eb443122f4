"""Choose the episodes of tutorial 2 from an evaluation of a real agent and ship them with the package.

    stephrl train --config quick --out runs/quick
    python tutorials/make_watched.py runs/quick/evaluation/cloning.episodes.jsonl

Three plays of unseen variations: a solved measurement, the shortest failed one in whose notes a number appears that nobody read off, and the longest play of find-animal.
"""
import argparse
from pathlib import Path
from stephrl.episode import read_episodes, write_episodes
from stephrl.view_model import issues, outcome

OUT = Path(__file__).parent.parent/'stephrl'/'data'/'watched.jsonl'


def invented(ep): return [t for t in range(len(ep.steps)) for i in issues(ep, t) if i['role'] == 'progress' and 'note says' in i['text']]


def choose(episodes):
    measured = [e for e in episodes if e.task == 'use-thermometer']
    found = [e for e in episodes if e.task == 'find-animal']
    solved = next((e for e in measured if outcome(e) == 'success'), None)
    failed = min((e for e in measured if outcome(e) == 'failure' and invented(e)), key=lambda e: len(e.steps), default=None)
    longest = max((e for e in found if outcome(e) == 'partial'), key=lambda e: (len(e.steps), len({s.action for s in e.steps})), default=None)
    for e, words in ((solved, 'a solved use-thermometer'), (failed, 'a failed use-thermometer with an invented number in its notes'), (longest, 'a partly solved find-animal')):
        if e is None: raise SystemExit(f'these episodes hold no {words}: take those of another agent')
    return [solved, failed, longest]


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('episodes', help='JSONL file of an evaluation')
    chosen = choose(read_episodes(parser.parse_args().episodes))
    for e in chosen: e.meta = dict(made_by='stephrl train --config quick, then tutorials/make_watched.py')
    OUT.parent.mkdir(exist_ok=True)
    print(write_episodes(OUT, chosen), [(e.task, e.variation, e.score, len(e.steps)) for e in chosen])
