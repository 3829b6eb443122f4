"What the policy notebooks cannot hold: strange texts, other architectures, damaged checkpoints, a full disk."
import json, random, shutil, subprocess, sys
import pytest, torch
from hypothesis import given, settings, strategies as st
from transformers import AutoConfig, AutoModelForCausalLM
from stephrl.policy import Policy, PolicyError, token_batches
from stephrl.decoding import pick, uniforms
from stephrl.small_lm import train_tokenizer

WORDS = 'open close door drawer kitchen bathroom the a go to wait look pot red blue water (that is closed)'.split()
rng = random.Random(0)
TEXTS = [' '.join(rng.choices(WORDS, k=rng.randint(0, 80))) for _ in range(60)]
POLICY = Policy.new(TEXTS, 'smoke', seed=0, device='cpu')

def other(model_type, seed=0, **kw):
    "A tiny model of another architecture, with our tokenizer."
    n = len(POLICY.tokenizer)
    config = AutoConfig.for_model(model_type, vocab_size=n, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
                                  num_key_value_heads=2, max_position_embeddings=512, n_embd=32, n_layer=2, n_head=4, pad_token_id=0, bos_token_id=1, eos_token_id=2, **kw)
    torch.manual_seed(seed)
    return Policy(AutoModelForCausalLM.from_config(config), POLICY.tokenizer, device='cpu')

# ---- tokenizer

@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_comes_back(s):
    assert POLICY.tokenizer.decode(POLICY._tokens(s)) == s
    assert POLICY.tokenizer.decode(POLICY._tokens(s), skip_special_tokens=True) == s

@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from('ab1 \n\t(.,▁ĠéÄ😀<eos>-_/'), max_size=30))
def test_texts_near_the_rules_come_back(s): assert POLICY.tokenizer.decode(POLICY._tokens(s)) == s

@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*WORDS, '\n', '(', ') ', '. ', ', ', '12', ' ', '-3.5', '▁']), max_size=30))
def test_sentences_come_back(parts):
    s = ''.join(parts)
    assert POLICY.tokenizer.decode(POLICY._tokens(s)) == s

def test_a_word_is_the_same_token_everywhere():
    t = POLICY.tokenizer
    places = ['door', 'the door', 'the\ndoor', '(door', 'a, door', '\tdoor', '- door']
    assert {POLICY._tokens(p)[-1] for p in places} == {t.convert_tokens_to_ids('▁door')}

def test_special_tokens_in_a_text_are_text():
    assert not {POLICY.pad, POLICY.bos, POLICY.eos} & set(POLICY._tokens('<pad><bos><eos>'))

def test_no_texts():
    with pytest.raises(ValueError, match='no training texts'): train_tokenizer([])

# ---- generation

@pytest.mark.parametrize('make', [lambda s: Policy.new(TEXTS, 'smoke', seed=s, device='cpu'), lambda s: other('qwen2', s), lambda s: other('gpt2', s), lambda s: other('llama', s)],
                         ids=['small', 'qwen2', 'gpt2', 'grouped llama'])
@pytest.mark.parametrize('seed', range(3))
def test_batched_equals_one_at_a_time(make, seed):
    p,prompts = make(seed),['', *random.Random(seed).sample(TEXTS, 23)]
    together = p.generate(prompts, 12, batch_size=24)
    apart = [p.generate([x], 12)[0] for x in prompts]
    assert [g.text for g in together] == [g.text for g in apart]
    assert [g.prompt_tokens for g in together] == [p.count_tokens(x)+1 for x in prompts]
    torch.testing.assert_close(torch.tensor([g.logprob for g in together]), torch.tensor([g.logprob for g in apart]), atol=1e-3, rtol=1e-3)

@pytest.mark.parametrize('preset', ['smoke', 'mini-llama'])
def test_the_ordinary_way_writes_what_the_lean_one_writes(monkeypatch, preset):
    "On a GPU the cache is that of transformers, with the convolutions' inputs in it."
    p = Policy.new(TEXTS, preset, seed=1, device='cpu')
    lean = p.generate(['', *TEXTS[:20]], 10)
    monkeypatch.setattr('stephrl.decoding.is_lean', lambda body: False)
    for a, b in zip(lean, p.generate(['', *TEXTS[:20]], 10), strict=True):
        assert a.text == b.text
        assert abs(a.logprob - b.logprob) < 1e-3

def test_agrees_with_transformers_generate():
    ids = torch.tensor([POLICY.encode_prompt(TEXTS[3])])
    theirs = POLICY.model.generate(ids, max_new_tokens=10, do_sample=False)[0, ids.shape[1]:]
    assert POLICY.generate([TEXTS[3]], 10)[0].text == POLICY.tokenizer.decode(theirs, skip_special_tokens=True)

def test_stops_at_eos_and_logprob_includes_it():
    p = Policy.new(TEXTS, 'smoke', device='cpu')
    opt = torch.optim.AdamW(p.model.parameters(), lr=3e-3)
    for _ in range(60): opt.zero_grad(); (-p.logprobs(['a', 'b'], ['open door', 'wait'])[0].sum()).backward(); opt.step()
    out = p.generate(['a', 'b'], 20)
    assert [g.text for g in out] == ['open door', 'wait']
    assert [g.completion_tokens for g in out] == [3, 2]
    torch.testing.assert_close(torch.tensor([g.logprob for g in out]), p.logprobs(['a', 'b'], ['open door', 'wait'])[0].detach(), atol=1e-4, rtol=1e-4)
    assert p.generate(['a'], 1)[0].completion_tokens == 1

def test_temperature_is_applied():
    greedy = POLICY.generate(TEXTS, 4)
    cold,hot = (POLICY.generate(TEXTS, 4, temperature=t, seed=1) for t in (1e-4, 5.))
    assert [g.text for g in cold] == [g.text for g in greedy]
    assert sum(g.logprob for g in hot) < sum(g.logprob for g in greedy)
    with pytest.raises(ValueError, match='temperature'): POLICY.generate(['a'], temperature=-1.)

def test_sampling_frequencies():
    z = torch.tensor([0.1, 2., -1., .5]).expand(20_000, 4)
    for temperature in (.5, 1., 2.):
        seen = torch.bincount(pick(z, temperature, uniforms(3, 0, 20_000)), minlength=4)/20_000
        torch.testing.assert_close(seen, (z[0]/temperature).softmax(-1), atol=.01, rtol=0)

def test_generation_leaves_training_mode_and_gradients_alone():
    POLICY.model.train()
    try:
        POLICY.generate(['a'], 2)
        assert POLICY.model.training and torch.is_grad_enabled()
    finally: POLICY.model.eval()

def test_prompt_longer_than_the_context():
    p = Policy.new(TEXTS, 'smoke', device='cpu')
    long = 'look '*3000 + 'door'
    with pytest.warns(UserWarning, match='cut to its last'): g, = p.generate([long], 2)
    assert g.prompt_tokens == p.context-p.target_room and p.n_cut == 1
    same, = p.generate(['look '*(g.prompt_tokens-2) + 'door'], 2)
    assert same.text == g.text
    assert p.encode(long, 'door')[0] == p.encode_prompt(long)          # training reads what playing reads
    with pytest.raises(ValueError, match='max_new_tokens'): p.generate(['a'], p.target_room+1)

# ---- constrained decoding

def test_always_one_of_the_choices():
    actions = sorted({' '.join(rng.choices(WORDS, k=rng.randint(1, 6))) for _ in range(2000)})
    choices = [actions, actions[:1], ['wait', 'wait 1', 'wait 1 2', ''], None, ['é', 'door ']]
    for temperature in (0., 3.):
        out = POLICY.generate(TEXTS[:5], 3, temperature=temperature, choices=choices)
        assert all(c is None or g.text in c for g,c in zip(out, choices))
        assert out[1].text == actions[0]

def test_prefixes_are_all_reachable():
    choices = ['wait', 'wait 1', 'wait 1 2']
    seen = {g.text for s in range(8) for g in POLICY.generate(TEXTS[:8], 3, temperature=20., seed=s, choices=[choices]*8)}
    assert seen == set(choices)

def test_constrained_sampling_is_the_renormalised_policy():
    "Two one-token choices: their odds are those of the policy."
    choices = ['door', 'wait']
    lp,_ = POLICY.logprobs([TEXTS[0]]*2, choices)
    eos = POLICY.forward_pairs([TEXTS[0]]*2, choices).token_logprob[:,1]
    odds = (lp-eos).softmax(0)[0].item()
    n = 600
    out = POLICY.generate([TEXTS[0]]*n, 3, temperature=1., choices=[choices]*n)
    assert abs(sum(g.text == 'door' for g in out)/n - odds) < .06

def test_free_and_constrained_rows_do_not_disturb_each_other():
    free = POLICY.generate(TEXTS[:6], 8)
    mixed = POLICY.generate(TEXTS[:6], 8, choices=[None, ['wait'], None, ['open door'], None, ['']])
    assert [mixed[i].text for i in (0, 2, 4)] == [free[i].text for i in (0, 2, 4)]
    assert [mixed[i].text for i in (1, 3, 5)] == ['wait', 'open door', '']

# ---- log-probabilities, hidden states, gradients

@pytest.mark.parametrize('kind', ['llama', 'qwen2', 'gpt2'])
def test_pairs_of_other_architectures(kind):
    p = other(kind)
    prompts,targets = TEXTS[:6],['door', 'open the door', '', 'wait', 'red pot', 'a']
    out = p.forward_pairs(prompts, targets, prompt_weight=1.)
    for i,(a,b) in enumerate(zip(prompts, targets)):
        x,y = p.encode(a, b)
        whole = p.model(torch.tensor([x+y]), output_hidden_states=True)
        z = whole.logits[0].log_softmax(-1)
        torch.testing.assert_close(out.logprob[i], sum(z[len(x)-1+k, t] for k,t in enumerate(y)), atol=1e-4, rtol=1e-4)
        if len(x) > 1: torch.testing.assert_close(out.prompt_logprob[i], sum(z[k-1, t] for k,t in enumerate(x) if k), atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(out.prompt_hidden[i], whole.hidden_states[-1][0, len(x)-1], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(out.target_hidden[i], whole.hidden_states[-1][0, -1], atol=1e-5, rtol=1e-4)

def test_q_sees_the_action_and_v_does_not():
    a = POLICY.forward_pairs(TEXTS[:3], ['open door']*3)
    b = POLICY.forward_pairs(TEXTS[:3], ['open drawer', 'wait', 'open door'])
    assert torch.equal(a.prompt_hidden[2], b.prompt_hidden[2])
    torch.testing.assert_close(a.prompt_hidden, b.prompt_hidden, atol=1e-5, rtol=1e-5)
    assert ((a.target_hidden-b.target_hidden).abs().amax(1) > 1e-3).tolist() == [True, True, False]

def test_states_only():
    out = POLICY.forward_pairs(TEXTS[:4])
    torch.testing.assert_close(out.prompt_hidden, POLICY.forward_pairs(TEXTS[:4], ['door']*4).prompt_hidden, atol=1e-5, rtol=1e-5)
    assert out.length.tolist() == [0]*4 and out.logprob.tolist() == [0.]*4

@pytest.mark.parametrize('kind', ['small', 'gpt2'])
def test_gradients_of_batched_and_single_examples(kind):
    p = POLICY if kind == 'small' else other(kind)
    prompts,targets = TEXTS[:7],['door', 'open the door', '', 'wait', 'red pot', 'a', 'look']
    def gradient(groups):
        p.model.zero_grad()
        for g in groups:
            out = p.forward_pairs([prompts[i] for i in g], [targets[i] for i in g])
            (out.logprob.sum() + out.target_hidden.pow(2).sum() + out.prompt_hidden.pow(2).sum()).backward()
        return torch.cat([x.grad.flatten().clone() for x in p.model.parameters()])
    together,apart = gradient([range(7)]),gradient([[i] for i in range(7)])
    assert (together-apart).norm() < 1e-4*apart.norm()
    p.model.zero_grad()

def test_bf16_autocast_is_close():
    prompts,targets = TEXTS[:8],['open the door']*8
    exact = POLICY.logprobs(prompts, targets)[0]
    with torch.autocast('cpu', torch.bfloat16): rough = POLICY.logprobs(prompts, targets)[0]
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=.3, rtol=.02)

@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=200), st.integers(100, 2000), st.integers(0, 5))
def test_token_batches(lengths, limit, seed):
    batches = token_batches(lengths, limit, seed)
    assert sorted(i for b in batches for i in b) == list(range(len(lengths)))
    assert all(len(b) == 1 or len(b)*max(lengths[i] for i in b) <= limit for b in batches)
    assert batches == token_batches(lengths, limit, seed)

# ---- keeping and loading

@pytest.fixture
def saved(tmp_path): return POLICY.save(tmp_path/'agent')

def same(a, b): return torch.equal(a.logprobs(TEXTS[:3], ['door']*3)[0], b.logprobs(TEXTS[:3], ['door']*3)[0])

def test_round_trip(saved):
    again = Policy.load(saved)
    assert same(again, POLICY) and again.meta == POLICY.meta
    assert [g.text for g in again.generate(TEXTS[:3], 5)] == [g.text for g in POLICY.generate(TEXTS[:3], 5)]
    for s in ('▁ <eos> é', 'door\ndoor (x)'): assert again.tokenizer.decode(again._tokens(s)) == s
    assert not {again.eos, again.bos} & set(again._tokens('<eos><bos>'))
    assert [p.name for p in saved.parent.iterdir()] == ['agent']

def test_saving_over_an_earlier_one(saved):
    b = Policy.new(TEXTS, 'smoke', seed=1, device='cpu')
    b.save(saved)
    assert same(Policy.load(saved), b) and not same(b, POLICY)

def test_lora_round_trip(tmp_path, saved):
    p = Policy.load(saved, lora=dict(r=4, alpha=8, targets=['q_proj', 'v_proj']))
    trainable = [n for n,x in p.model.named_parameters() if x.requires_grad]
    assert trainable and all('lora' in n for n in trainable)
    opt = torch.optim.AdamW([x for x in p.model.parameters() if x.requires_grad], lr=.05)
    for _ in range(5): opt.zero_grad(); (-p.logprobs(['a'], ['open door'])[0].sum()).backward(); opt.step()
    p.save(tmp_path/'adapter')
    again = Policy.load(tmp_path/'adapter')
    assert same(again, p) and not same(again, POLICY)
    assert again.meta['kind'] == 'lora' and again.meta['base'] == str(saved)
    assert any(x.requires_grad for x in again.model.parameters())
    with pytest.raises(ValueError, match='rank.*valid'): Policy.load(saved, lora=dict(rank=4))

def test_relative_paths(tmp_path, saved, monkeypatch):
    monkeypatch.chdir(saved.parent)
    Policy.load(saved.name, lora=dict(r=1)).save(tmp_path/'adapter')
    monkeypatch.chdir(tmp_path/'adapter')            # its base is found from everywhere
    assert same(Policy.load('.'), Policy.load(saved)) and same(Policy.load('../adapter'), Policy.load(saved))
    monkeypatch.chdir(saved)
    assert same(Policy.load('.'), Policy.load(saved))

def test_plain_transformers_checkpoint(tmp_path):
    p = other('llama')
    p.model.save_pretrained(tmp_path/'plain'); p.tokenizer.save_pretrained(tmp_path/'plain')
    assert same(Policy.load(tmp_path/'plain'), p)

def damage(saved, what):
    meta = saved/'stephrl.json'
    if what == 'version': meta.write_text(json.dumps({**json.loads(meta.read_text()), 'format': 99}))
    if what == 'not json': meta.write_text(meta.read_text()[:40])
    if what == 'weights gone': (saved/'model.safetensors').unlink()
    if what == 'weights cut': f = saved/'model.safetensors'; f.write_bytes(f.read_bytes()[:1000])
    if what == 'no meta': meta.unlink(); (saved/'config.json').unlink()
    if what == 'a file': shutil.rmtree(saved); saved.write_text('x')

@pytest.mark.parametrize('what, says', [('version', r'stephrl.json: field format is 99'), ('not json', 'stephrl.json: not JSON'), ('weights gone', r'model.safetensors: missing'),
    ('weights cut', 'model.safetensors: 1000 bytes instead of'), ('no meta', 'stephrl.json: missing'), ('a file', 'is a file')])
def test_damaged(saved, what, says):
    damage(saved, what)
    with pytest.raises(PolicyError, match=says): Policy.load(saved)

def test_unknown_names(saved):
    with pytest.raises(PolicyError, match='agent'): Policy.load(saved.parent/'agnet')
    with pytest.raises(KeyError, match='tiny'): Policy.new(TEXTS, 'tniy')

def test_interrupted_between_the_two_renames(saved):
    saved.rename(saved.with_name('.agent.previous'))
    assert same(Policy.load(saved), POLICY)

def test_full_disk_leaves_the_earlier_policy(saved):
    "A real refusal to write: the process may write files of 100 kB at most."
    code = f'''
import resource, torch
from stephrl.policy import Policy
p = Policy.load({str(saved)!r})
with torch.no_grad(): p.model.get_input_embeddings().weight.zero_()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
p.save({str(saved)!r})'''
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert r.returncode != 0 and 'File too large' in r.stderr, r.stderr
    assert same(Policy.load(saved), POLICY)
    assert [p.name for p in saved.parent.iterdir()] == ['agent']
