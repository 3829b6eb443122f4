"The losses against an independent implementation (d3rlpy), and batches against single rows."
import copy

import numpy as np
import pytest
import torch

from stephrl.iql import advantage_weights, awr_loss, critic_loss, expectile_loss, td_targets


@pytest.fixture(scope='module')
def theirs():
    "A real d3rlpy IQL learner with its own networks, and a batch of random transitions."
    d3rlpy = pytest.importorskip('d3rlpy', reason='d3rlpy is a development dependency', exc_type=ImportError)
    from d3rlpy.torch_utility import TorchMiniBatch
    torch.manual_seed(0)
    algo = d3rlpy.algos.IQLConfig(expectile=.9, weight_temp=3., max_weight=20., gamma=.97).create(device='cpu:0')
    algo.create_impl((5,), 2)
    B = 64
    r = lambda *shape: torch.randn(*shape)
    batch = dict(observations=r(B, 5), actions=r(B, 2).tanh(), rewards=r(B, 1), next_observations=r(B, 5), returns_to_go=r(B, 1),
                 terminals=(torch.rand(B, 1) < .3).float(), intervals=torch.randint(1, 6, (B, 1)).float(), device='cpu:0')
    import inspect
    known = inspect.signature(TorchMiniBatch).parameters
    missing = {k: torch.zeros(B, 1) for k, p in known.items() if k not in batch and p.default is p.empty}
    return algo.impl, TorchMiniBatch(**{k: v for k, v in batch.items() if k in known} | missing)


def parts(theirs):
    impl, b = theirs
    q = impl._targ_q_func_forwarder.compute_expected_q(b.observations, b.actions, 'min')
    return impl, b, q[:, 0], impl.modules.value_func(b.observations)[:, 0]


def test_expectile_agrees(theirs):
    impl, b, q, v = parts(theirs)
    torch.testing.assert_close(expectile_loss(q.detach() - v, .9), impl.compute_value_loss(b))


def test_weights_agree(theirs):
    impl, b, q, v = parts(theirs)
    torch.testing.assert_close(advantage_weights(q - v, 3., 20.), impl._compute_weight(b)[:, 0].detach())


def test_actor_loss_agrees(theirs):
    from d3rlpy.models.torch.policies import build_gaussian_distribution
    impl, b, q, v = parts(theirs)
    action = impl.modules.policy(b.observations)
    logprob = build_gaussian_distribution(action).log_prob(b.actions)[:, 0]
    ours = awr_loss(logprob, advantage_weights(q - v, 3., 20.))
    torch.testing.assert_close(ours, impl.compute_actor_loss(b, action).actor_loss)


def test_target_and_critic_loss_agree(theirs):
    "Their target is r + γ^n (1 - terminal) V(s'): a decision with one reward at its first step."
    impl, b, *_ = parts(theirs)
    target = td_targets(b.rewards, b.intervals[:, 0].long(), b.terminals[:, 0], impl.compute_target(b)[:, 0].detach(), .97)
    q1, q2 = (f(b.observations, b.actions).q_value[:, 0] for f in impl.modules.q_funcs)
    their_loss = impl._q_func_forwarder.compute_error(observations=b.observations, actions=b.actions, rewards=b.rewards,
                                                      target=impl.compute_target(b), terminals=b.terminals, gamma=.97**b.intervals)
    ratio = (critic_loss(q1, q2, target)/their_loss).item()
    assert min(abs(ratio - 1), abs(ratio - 2)) < 1e-4, ratio            # some versions take half the squared error


def test_n_step_target_is_the_sum_of_its_steps():
    rewards, n, gamma = torch.rand(50, 7), torch.randint(1, 8, (50,)), .9
    terminated, value = torch.rand(50) < .5, torch.randn(50)
    got = td_targets(rewards, n, terminated, value, gamma)
    for i in range(50):
        want = 0. if terminated[i] else value[i].item()
        for r in rewards[i, :n[i]].tolist()[::-1]: want = r + gamma*want
        assert abs(got[i].item() - want) < 1e-5


@pytest.fixture(scope='module')
def toy():
    from stephrl.policy import Policy
    from stephrl.training import encode_rows
    prompts, targets = [f'Door {i} of {i*i}:' for i in range(6)], [f' open {"the red door"*(i % 3)} {i}' for i in range(6)]
    policy = Policy.new(prompts + targets, 'smoke', device='cpu')
    return policy, encode_rows(policy, prompts, targets)


def gradient(policy, data, groups, weight):
    from stephrl.offline import IQLConfig, weighted_loss
    loss, model = weighted_loss(weight, IQLConfig()), policy.model
    model.zero_grad()
    for rows in groups: (loss(policy.pairs(policy.rows([data.pairs[i] for i in rows])), np.array(rows))[0]/6).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters()}


def test_batched_and_single_gradients_agree(toy):
    policy, data = toy
    weight = torch.tensor([.1, 1., 2., 0., 20., .5])
    together, alone = (gradient(policy, data, g, weight) for g in ([list(range(6))], [[i] for i in range(6)]))
    for n in together: torch.testing.assert_close(together[n], alone[n], rtol=1e-4, atol=1e-5)


def test_critic_gradients_batched_and_single_agree():
    from stephrl.critics import CriticSet
    from stephrl.offline import IQLConfig, role_losses
    torch.manual_seed(0)
    critics, B = CriticSet(8, ['low']), 5
    s, a, s2, r = torch.randn(B, 8), torch.randn(B, 8), torch.randn(B, 8), torch.rand(B, 1)
    n, end = torch.ones(B, dtype=torch.long), torch.tensor([0, 1, 0, 0, 1]).bool()

    def grads(groups):
        critics.zero_grad()
        for i in groups:
            lv, lq, _ = role_losses(critics, 'low', s[i], a[i], s2[i], r[i], n[i], end[i], IQLConfig())
            ((lv + lq)*len(i)/B).backward()
        return {k: p.grad.clone() for k, p in critics.named_parameters() if p.grad is not None}
    together, alone = grads([[0, 1, 2, 3, 4]]), grads([[i] for i in range(B)])
    for k in together: torch.testing.assert_close(together[k], alone[k], rtol=1e-4, atol=1e-6)


def test_critics_learn_by_regression_what_tables_learn():
    "With one-hot features the heads solve the corridor as the tables do."
    from stephrl.critics import CriticSet, Features
    from stephrl.iql import corridor, solve
    from stephrl.offline import IQLConfig, RoleData, train_critics
    d = corridor()
    S, N = d['n'], len(d['s'])
    states, pairs = torch.eye(S), torch.eye(N)
    width = max(S, N)
    pad = lambda x: torch.nn.functional.pad(x, (0, width - x.shape[1]))
    f = Features(pad(states), d['s'], torch.where(d['terminated'], -1, d['s2']), pad(pairs), torch.zeros(N))
    data = dict(low=RoleData(torch.arange(N), d['r'][:, None], torch.ones(N, dtype=torch.long), d['terminated']))
    critics = CriticSet(width, ['low'], hidden=32)
    train_critics(critics, f, data, IQLConfig(tau=.98, gamma=.9, polyak=.02, critic_updates=2500, critic_lr=3e-3, critic_batch=64))
    v = critics.value('low', f.prompt).detach()
    assert (v - solve(d, .9)[0]).abs().max() < .1, v


def test_interrupted_policies_start_from_the_same_clone(toy):
    policy, data = toy
    from stephrl.training import TrainConfig, run_fingerprint
    other = copy.deepcopy(policy.model)
    before = run_fingerprint(policy, data, TrainConfig(epochs=1))
    with torch.no_grad(): next(policy.model.parameters()).add_(1e-3)
    assert run_fingerprint(policy, data, TrainConfig(epochs=1)) != before
    policy.model.load_state_dict(other.state_dict())
    assert run_fingerprint(policy, data, TrainConfig(epochs=1)) == before
