"A backbone made by the smoke preset, and an agent that stands on it."
import shutil, signal, subprocess, sys, time
from pathlib import Path
import pytest, torch
from stephrl.agents import load_agent
from stephrl.env import PANELS, load_suite
from stephrl.policy import Policy, backbone_folder, shipped_backbones
from stephrl.pretrain import READ, has_read
from stephrl.train import Config, ConfigError, Run


def start(out): return subprocess.Popen([Path(sys.executable).with_name('stephrl'), 'pretrain', '--config', 'smoke', '--out', str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "Interrupted in the midst of its training, then run again to the end."
    out = tmp_path_factory.mktemp('pretrain')
    p, log = start(out), out/'training'/'lm.jsonl'
    while p.poll() is None and not (log.exists() and log.read_text().count('\n')): time.sleep(.05)
    p.send_signal(signal.SIGINT)
    told = p.communicate(timeout=60)[1]
    assert p.returncode == 130 and 'stopped' in told, told
    assert not (out/'backbone').exists()
    demos = (out/'plays'/'0.jsonl').read_bytes()
    p = start(out)
    told = p.communicate(timeout=300)[1]
    assert p.returncode == 0, told
    assert (out/'plays'/'0.jsonl').read_bytes() == demos      # what was played is not played again
    return out


def test_an_agent_on_a_pretrained_backbone(made, tmp_path):
    folder = made/'backbone'
    assert has_read(folder, 'scienceworld') and not has_read(folder, 'alfworld')
    run = Run(Config.of('smoke', backbone=str(folder), **{'clone.max_tokens': 20_000}), tmp_path/'run')
    (tmp_path/'run'/'demos.jsonl').write_text(''.join((made/'plays'/'0.jsonl').read_text().splitlines(True)[1:]))   # the backbone has read one more
    run.annotated()
    agent = run.cloned()
    assert len(has_read(folder, 'scienceworld') - set(run.train_ids())) == 1
    assert agent.train_ids == set(run.train_ids()) | has_read(folder, 'scienceworld')
    before, after = Policy.load(folder), load_agent(tmp_path/'run'/'agents'/'clone').policy
    assert after.tokenizer.get_vocab() == before.tokenizer.get_vocab()
    assert any(not torch.equal(a, b) for a, b in zip(before.model.parameters(), after.model.parameters()))


def test_a_run_that_pretrains_its_backbone(made, tmp_path):
    run = Run(Config.of('smoke', backbone='pretrain:smoke'), tmp_path/'run')
    shutil.copytree(made, run.path('pretraining'))            # as if it had been stopped right after
    shutil.copy(made/'plays'/'0.jsonl', run.path('demos.jsonl'))
    for a, b in zip(run.backbone().model.parameters(), Policy.load(made/'backbone').model.parameters()): assert torch.equal(a, b)
    assert run.stages['backbone']['finished'] and set(run.known_ids()) == has_read(made/'backbone', 'scienceworld')
    with pytest.raises(ConfigError, match="no pretraining 'smok'.*Did you mean 'smoke'"): Config.of('smoke', backbone='pretrain:smok').check()


def test_a_damaged_list_of_what_was_read(made, tmp_path):
    shutil.copytree(made/'backbone', tmp_path/'b')
    for text in ('{', '{}', '[]', '{"read": [1]}'):
        (tmp_path/'b'/READ).write_text(text)
        with pytest.raises(ValueError, match='pretrain.json'): has_read(tmp_path/'b', 'scienceworld')


@pytest.mark.parametrize('name', shipped_backbones())
def test_the_shipped_backbones(name):
    "It loads by name, and has read nothing of any panel that is reported, nor of the one on which settings are chosen."
    policy, panels = Policy.load(name), [load_suite(p) for p in sorted(PANELS.glob('*.json'))]
    assert policy.n_params < 3e6 and policy.meta['preset'] == 'deep'
    for env in ('scienceworld', 'alfworld'):
        read = {(t, str(v)) for t, v in has_read(backbone_folder(name), env)}
        assert len(read) > 500
        for p in panels:
            both = read & {(t, str(v)) for t, v in p.episodes}
            assert not both or p.name.endswith('_select'), (p.name, sorted(both)[:3])   # *_select are train variations, to choose on when nothing was pretrained
    text = 'Answer: On the shelf 1, you see a book 3, a pen 2.\npen'
    ids = policy.tokenizer(text, add_special_tokens=False, return_tensors='pt').input_ids
    assert policy.tokenizer.decode(policy.model(ids).logits[0, -1].argmax()).strip() == '2'
