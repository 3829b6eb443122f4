"""The sixteen traps, put back: each patch is (trap, module, what stands there, what the trap would make of it).

`run.py` applies one at a time to a copy of the package and demands that the trap's test in `tests/test_traps.py` fails.
What stands there must occur exactly once, so a patch that no longer fits the code is an error and not a silent pass.
"""
PATCHES = [
    # 1. Q reads the prompt's last token: stored features, live critics
    (1, 'critics', 'out.target_hidden[full].float().cpu()', 'out.prompt_hidden[full].float().cpu()'),
    (1, 'offline', 'pairs.prompt_hidden[here], pairs.target_hidden[here]', 'pairs.prompt_hidden[here], pairs.prompt_hidden[here]'),
    # 2. the expectile turned round
    (2, 'iql', '(u < 0).to(u.dtype)', '(u > 0).to(u.dtype)'),
    # 3. (B,) times (B, 1)
    (3, 'iql', "    assert logprob.shape == weight.shape and weight.dim() == 1, ", "    assert True, "),
    (3, 'iql', "    assert q1.shape == q2.shape == target.shape and target.dim() == 1, ", "    assert True, "),
    (3, 'policy', 'Pairs(lp.sum(1), T', 'Pairs(lp.sum(1, keepdim=True), T'),
    # 4. the exponential is computed, the signed advantage is used
    (4, 'iql', 'return (beta*advantage.detach().float()).exp().clamp(max=w_max)', 'return advantage.detach().float()'),
    (4, 'offline', 'w = weight[d.row] = advantage_weights(A, config.beta, config.w_max)', 'w = weight[d.row] = A'),
    (4, 'offline', 'losses = awr_losses(pairs.logprob, w, ', 'losses = awr_losses(pairs.logprob, torch.ones_like(w), '),
    # 5. critics in bf16
    (5, 'critics', 'torch.autocast(x.device.type, enabled=False)', 'torch.autocast(x.device.type, torch.bfloat16)'),
    (5, 'critics', 'self.meta = dict(d=d,', 'self.bfloat16(); self.meta = dict(d=d,'),
    (5, 'iql', "assert t.dtype == torch.float32, f'slow", "assert True, f'slow"),
    (5, 'iql', 'torch.where(terminated.bool(), 0., gamma**n.to(torch.float32)*next_value)',
               'torch.where(terminated.bool(), 0., torch.tensor(gamma, dtype=torch.bfloat16)**n*next_value)'),
    # 6. the slow average before the optimiser step, and too fast
    (6, 'offline', 'opt.zero_grad(); loss.backward(); opt.step()\n        critics.polyak(config.polyak)', 'critics.polyak(config.polyak)\n        opt.zero_grad(); loss.backward(); opt.step()'),
    (6, 'offline', 'self.optimizer.step(); self.optimizer.zero_grad()\n        self.critics.polyak(self.config.polyak)',
                   'self.critics.polyak(self.config.polyak)\n        self.optimizer.step(); self.optimizer.zero_grad()'),
    (6, 'offline', 'polyak: float = .005', 'polyak: float = .2'),
    # 7. length-normalised without saying so
    (7, 'offline', 'length_normalised: bool = False', 'length_normalised: bool = True'),
    (7, 'offline', 'w, pairs.length if config.length_normalised else None)', 'w, pairs.length)'),
    # 8. every last action of a group is an end with reward 1
    (8, 'transitions', "verified = done if ep.source == 'expert' else g.verified is True", 'verified = True'),
    (8, 'transitions', "verified = done if ep.source == 'expert' else g.verified is True", 'verified = done'),
    (8, 'transitions', 'terminated = done or reward == 1 or (at_end and ep.terminated)', 'terminated = True'),
    (8, 'transitions', 'kw |= dict(truncated=True, next_prompt=', 'kw |= dict(terminated=True, next_prompt='),
    (8, 'iql', 'torch.where(terminated.bool(), 0., gamma**n.to(torch.float32)*next_value)', 'gamma**n.to(torch.float32)*next_value'),
    # 9. states from a parallel list: a missing note shifts them by one; a note is paid for what came before it
    (9, 'transitions', "*_progress(ep, t), **kw))\n    return out",
        "*_progress(ep, t), **kw))\n    states = [_progress(ep, i)[0] for i in range(g.start, g.end) if _noted(ep, i)]\n"
        "    for i, r in enumerate(out): r['next_prompt'] = states[i+1] if i+1 < len(states) else ''\n    return out"),
    (9, 'transitions', 'reward = _step_reward(ep, t+1, invalid_penalty)', 'reward = _step_reward(ep, t, invalid_penalty)'),
    # 10. free text as a final state
    (10, 'transitions', "following = '' if over else _low_next(ep, t)", "following = 'Task completed.' if over else _low_next(ep, t)"),
    (10, 'transitions', "    return low_prompt(ep.subtask_of(t).name, ep.steps[t].next_progress, ep.observation_after(t))", "    return 'Task failed.'"),
    # 11. one failure text among several
    (11, 'scienceworld', 'answer.lstrip().startswith(INVALID)', 'answer.lstrip().startswith(INVALID[0])'),
    # 12. collected rows take the names of expert rows; a rollout starts its file anew
    (12, 'episode', "return f'{self.env}/{self.task}/{self.variation}/{self.source}/{self.seed}'", "return f'{self.env}/{self.task}/{self.variation}/{self.seed}'"),
    (12, 'episode', "self.file = open(self.path, 'ab', buffering=0)", "self.file = open(self.path, 'wb', buffering=0)"),
    # 13. the temperature is configured and never passed on
    (13, 'player', 'if temperature: kwargs |=', 'if False: kwargs |='),
    (13, 'rollout', 'choices, self.temperature, seeds)', 'choices, 0., seeds)'),
    # 14. learning from what chooses; measuring on what was learnt from
    (14, 'train', 'return [e for e in episodes if id(e) not in held], [e for e in episodes if id(e) in held]', 'return episodes, [e for e in episodes if id(e) in held]'),
    (14, 'evaluate', 'if both := [e for e in suite.episodes if (e[0], str(e[1])) in ids]:', 'if both := []:'),
    # 15. an exception is a score of 0 and nothing else
    (15, 'player', "self.episode.error = f'{self.episode.id}, step", "self.episode.meta['error'] = f'{self.episode.id}, step"),
    (15, 'evaluate', 'crashes=sum(ep.error is not None for ep in episodes)', 'crashes=0'),
    # 16. one prompt at a time; "; True" is the action "None"
    (16, 'player', 'groups.setdefault((id(agent.policy_for(a.role)), a.max_new_tokens), [])', 'groups.setdefault((i, a.max_new_tokens), [])'),
    (16, 'prompts', "return (one_line(m[1]), m[2] == DONE) if m else None", "return (one_line(m[1]), m[2] == DONE) if m else ('None', True)"),
]
