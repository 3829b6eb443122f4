"Started by test_training.py in processes of its own: `python interrupted_training.py FOLDER` clones twice, the second time with a focus, and then does RL there; prints a hash of the weights."
import hashlib
import sys
from pathlib import Path

from stephrl.bc import clone
from stephrl.offline import IQLConfig, offline_rl
from stephrl.policy import Policy
from stephrl.training import TrainConfig


def rows():
    out = []
    for i in range(30):
        for word, pays in (('open', i % 2), ('leave', 0)):
            out.append(dict(role='low' if i % 3 else 'progress', prompt=f'Door {i} of {i % 7}:', target=f' {word} it | done', reward=float(pays), rewards=[], n=1,
                            next_prompt='' if i == 29 else f'Door {i+1} of {(i+1) % 7}:', terminated=i == 29, kind='collected', episode='e'))
    return out


def main(out):
    table = rows()
    policy = Policy.new([r[k] for r in table for k in ('prompt', 'target')], 'smoke', device='cpu')
    kw = dict(log_every=1, save_seconds=0, tensorboard=False)
    config = TrainConfig(max_updates=25, batch_tokens=256, precision='no', accumulate=2)
    clone(policy, table, config, Path(out)/'bc', **kw)
    clone(policy, [r | dict(task='doors') for r in table], TrainConfig(max_tokens=12_000, batch_tokens=256, precision='no'), Path(out)/'focused', shares=dict(low=1, progress=1), focus=.4, **kw)
    offline_rl(policy, table, IQLConfig(critic_updates=100, hidden=16, policy=TrainConfig(max_updates=25, batch_tokens=256, precision='no')), Path(out)/'rl', **kw)
    print('weights', hashlib.sha256(b''.join(p.detach().numpy().tobytes() for p in policy.model.parameters())).hexdigest())


if __name__ == '__main__': main(sys.argv[1])
