"""How fast the small model trains, beside what one large matrix product of the same precision reaches on this machine.

    python benchmarks/train_throughput.py                                (a machine of its own: wall-clock time, all cores)
    python benchmarks/train_throughput.py --threads 1 --clock cpu        (a shared machine: processor time of one thread, per core)

Every round times the matrix product, each variant on the same batches (forward, backward, AdamW step), and the matrix product again, so that a busy machine slows all of them alike.
Reported are medians over rounds; `fraction` is (arithmetic done per second) / (arithmetic of the matrix product per second), paired within the round.

Arithmetic done, per batch of B rows padded to L tokens, N of which are read in the last layer (the others only as keys and values), T target tokens in all:
    forward  = 2 * [B L * (layers - 1) * W + B L * W_kv + B N * (W - W_kv) + T * V d]  +  attention
    W = weights of one layer (q, k, v, o, gate, up, down), W_kv = those of k and v, V = vocabulary, d = width; the projections of a convolution are as many (3 d^2 in, d^2 out)
    attention = 2 * 2 * d * [B L^2 * (attending layers - 1) / 2 + B N L]   (scores and their sum; half of it for the causal triangle; the last layer attends)
    training step = 3 * forward                                        (backward is twice forward)
Element-wise operations, norms, softmax and the optimiser are not counted as arithmetic; they cost time all the same.
"""
import argparse, contextlib, copy, json, os, platform, random, statistics, time
from pathlib import Path
import torch
import stephrl.policy as policy_module
from stephrl.lean import is_lean
from stephrl.policy import Policy, token_batches

LEAN = is_lean
CLOCK = time.perf_counter

def made_up_rows(n, seed=0):
    "Prompts and targets as long as those of the quick preset's table: prompts of 60 to 260 tokens (mean about 120), targets of 5 to 30."
    rng = random.Random(seed)
    words = [''.join(rng.choices('abcdefghijklmnopqrstuvwxyz', k=6)) for _ in range(900)]
    text = lambda k: ' '.join(rng.choices(words, k=k))
    return [(text(min(260, 60+int(rng.expovariate(1/60)))), text(rng.choice([5, 6, 7, 8, 20, 25, 30]))) for _ in range(n)]

def forward_flops(config, rows, lean):
    "See the formula at the top."
    B,L = rows.input_ids.shape
    d,layers,f = config.hidden_size,config.num_hidden_layers,config.intermediate_size
    kv = 2*d*d*config.num_key_value_heads//config.num_attention_heads
    W,N,T = 2*d*d+kv+3*d*f, int(rows.target_length.max())+1 if lean else L, int(rows.target_length.sum())
    attending = list(getattr(config, 'layer_types', None) or ['full_attention']*layers).count('full_attention')
    attention = 2*2*d*(B*L*L*(attending-1)/2 + (B*N*L if lean else B*L*L/2))
    return 2*(B*L*(layers-1)*W + B*L*kv + B*N*(W-kv) + T*config.vocab_size*d) + attention

def matmul_rate(dtype, n=1024, seconds=.1):
    "Arithmetic per second of one n x n matrix product."
    a,b = torch.randn(n, n).to(dtype),torch.randn(n, n).to(dtype)
    a@b
    t,k = CLOCK(),0
    while CLOCK()-t < seconds: a@b; k += 1
    return k*2*n**3/(CLOCK()-t)

def step_time(policy, batches, optimiser, precision):
    "Seconds for one optimiser step on each batch."
    context = torch.autocast('cpu', torch.bfloat16) if precision == 'bf16 autocast' else contextlib.nullcontext()
    t = CLOCK()
    for rows in batches:
        with context: out = policy.pairs(rows)
        (-out.logprob.sum()/out.length.sum()).backward()
        optimiser.step(); optimiser.zero_grad()
    return CLOCK()-t

def variants(names):
    "name -> precision, lean reading, transformers attention, batch tokens, bucketed, fused optimiser, compiled"
    base = dict(precision='bf16 autocast', lean=True, attention='sdpa', batch_tokens=4096, bucketed=True, fused=True, compiled=False)
    change = {'default: bf16 autocast, lean, bucketed 4096': {}, 'fp32': dict(precision='fp32'), 'bf16 weights': dict(precision='bf16 weights'),
              'transformers forward, sdpa': dict(lean=False), 'transformers forward, eager attention': dict(lean=False, attention='eager'),
              'fp32, transformers forward, sdpa': dict(precision='fp32', lean=False), 'AdamW not fused': dict(fused=False),
              'batches of 1024 tokens': dict(batch_tokens=1024), 'batches of 2048 tokens': dict(batch_tokens=2048), 'batches of 8192 tokens': dict(batch_tokens=8192),
              'random batches (padding)': dict(bucketed=False), 'torch.compile': dict(compiled=True)}
    return {k: {**base, **v} for k,v in change.items() if (k != 'torch.compile' or 'compile' in names)}

def prepare(v, encoded, first, tokens):
    "Policy, batches, optimiser and counts of one variant."
    policy = Policy(copy.deepcopy(first.model), first.tokenizer, device='cpu')
    if v['precision'] == 'bf16 weights': policy.model.to(torch.bfloat16)
    if not v['lean']: policy.model.set_attn_implementation(v['attention'])
    policy.model.train()
    lengths = [len(p)+len(t) for p,t in encoded]
    plan = token_batches(lengths, v['batch_tokens'], seed=1)
    if not v['bucketed']:
        order,n = random.Random(0).sample(range(len(encoded)), len(encoded)),v['batch_tokens']//(sum(lengths)//len(lengths))
        plan = [order[i:i+n] for i in range(0, len(order), n)]
    keep,total = [],0
    for b in plan:
        if total < tokens: keep.append(policy.rows([encoded[i] for i in b])); total += sum(lengths[i] for i in b)
    if v['compiled']: policy.pairs = torch.compile(policy.pairs, dynamic=True)
    optimiser = torch.optim.AdamW(policy.model.parameters(), lr=1e-4, fused=v['fused'])
    flops = 3*sum(forward_flops(policy.model.config, r, v['lean']) for r in keep)
    return dict(policy=policy, batches=keep, optimiser=optimiser, precision=v['precision'], tokens=total, flops=flops,
                padding=1-total/sum(r.input_ids.numel() for r in keep), lean=v['lean'])

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--preset', default='tiny'); ap.add_argument('--rounds', type=int, default=5); ap.add_argument('--tokens', type=int, default=8_000, help='per variant and round')
    ap.add_argument('--threads', type=int, default=os.cpu_count()); ap.add_argument('--compile', action='store_true', help='also time torch.compile (needs a C++ compiler; slow to start)')
    ap.add_argument('--out', default='results/train_throughput.json')
    ap.add_argument('--clock', choices=['wall', 'cpu'], default='wall', help='cpu: time of this thread only, for a machine that others use too; needs --threads 1')
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    if a.clock == 'cpu':
        if a.threads != 1: ap.error('--clock cpu counts one thread: add --threads 1')
        global CLOCK
        CLOCK = time.thread_time
    rows = made_up_rows(1500)
    first = Policy.new([x for r in rows for x in r], a.preset, device='cpu')
    encoded = [first.encode(*r) for r in rows]
    work = {name: prepare(v, encoded, first, a.tokens) for name,v in variants(['compile'] if a.compile else []).items()}
    rates = {name: [] for name in work}
    for r in range(-1, a.rounds):                                # round -1 warms up
        for name,w in work.items():
            dtype = torch.float32 if w['precision'] == 'fp32' else torch.bfloat16
            policy_module.is_lean = LEAN if w['lean'] else (lambda body: False)
            before = matmul_rate(dtype); t = step_time(w['policy'], w['batches'], w['optimiser'], w['precision']); after = matmul_rate(dtype)
            if r >= 0: rates[name].append((w['tokens']/t, w['flops']/t/((before+after)/2), (before+after)/2))
    policy_module.is_lean = LEAN
    table = {name: dict(tokens_per_second=round(statistics.median(x[0] for x in rs)), best_tokens_per_second=round(max(x[0] for x in rs)), fraction=round(statistics.median(x[1] for x in rs), 3),
                        matmul_gflops=round(statistics.median(x[2] for x in rs)/1e9, 1), mflop_per_token=round(work[name]['flops']/work[name]['tokens']/1e6, 2), padding=round(work[name]['padding'], 3))
             for name,rs in rates.items()}
    width = max(map(len, table))
    print(f"{'':{width}}  tok/s   best  fraction  matmul GFLOP/s  MFLOP/token  padding")
    for name,x in table.items(): print(f"{name:{width}} {x['tokens_per_second']:6d} {x['best_tokens_per_second']:6d} {x['fraction']:9.2f} {x['matmul_gflops']:15.0f} {x['mflop_per_token']:12.2f} {x['padding']:8.1%}")
    result = dict(command=f'python benchmarks/train_throughput.py --preset {a.preset} --rounds {a.rounds} --threads {a.threads} --clock {a.clock}' + (' --compile' if a.compile else ''), preset=a.preset,
                  parameters=first.n_params, vocabulary=len(first.tokenizer), threads=a.threads, clock=a.clock, load_average=os.getloadavg()[0], torch=torch.__version__, machine=platform.processor() or platform.machine(),
                  mean_tokens_per_row=round(sum(len(p)+len(t) for p,t in encoded)/len(encoded), 1), variants=table)
    Path(a.out).parent.mkdir(exist_ok=True); Path(a.out).write_text(json.dumps(result, indent=1)+'\n')
    print('written to', a.out)

if __name__ == '__main__': main()
