"ReAct against a real server: `transformers serve`, on a small chat model that is made here."
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from labkit import free_port

from stephrl.agents import load_agent
from stephrl.demos import play_expert
from stephrl.env import make_env
from stephrl.evaluate import evaluate
from stephrl.env import Suite
from stephrl.policy import Policy
from stephrl.react import ChatModel, example, parse_react

TEMPLATE = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}Thought:{% endif %}"


@given(st.text())
def test_any_answer_is_read(text):
    thought, action = parse_react(text)
    assert '\n' not in thought and (action is None or (action and '\n' not in action))


@given(st.from_regex(r'[a-z]{1,9}( [a-z]{1,9}){0,4}', fullmatch=True), st.sampled_from(['', 'Thought: it is near.\n', '**Thought:** hm\n\n']))
def test_a_written_action_is_played(action, thought):
    assert parse_react(f'{thought}Action: {action}\nObservation: invented')[1] == action


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    "The address of the server and the name of its model."
    pytest.importorskip('fastapi')
    pytest.importorskip('uvicorn')
    folder, port = tmp_path_factory.mktemp('chat'), free_port()
    policy = Policy.new(['You play a text game. Observation: This is room 0. Thought: go on. Action: go east'] * 4, 'smoke', 0)
    policy.tokenizer.chat_template = TEMPLATE
    policy.model.config.max_position_embeddings = 4096
    policy.model.save_pretrained(folder/'model')
    policy.tokenizer.save_pretrained(folder/'model')
    env = {**os.environ, 'HF_HUB_OFFLINE': '1', 'HOME': str(folder)}
    with open(folder/'log', 'w') as log:
        server = subprocess.Popen([str(Path(sys.executable).with_name('transformers')), 'serve', '--host', '127.0.0.1', '--port', str(port), '--device', 'cpu'], env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            for _ in range(600):
                if server.poll() is not None: pytest.fail((folder/'log').read_text()[-2000:])
                try:
                    urllib.request.urlopen(f'http://127.0.0.1:{port}/health', timeout=2).close()
                    break
                except OSError: time.sleep(.2)
            yield f'http://127.0.0.1:{port}/v1', str(folder/'model')
        finally:
            server.terminate()
            server.wait(30)


def test_a_served_model_plays_the_corridor(served, tmp_path, monkeypatch):
    url, model = served
    monkeypatch.setenv('OPENAI_BASE_URL', url)
    monkeypatch.setenv('STEPHRL_CHAT_MODEL', model)
    demo = play_expert(make_env('corridor'), 'take-lamp', 1)
    agent = load_agent('react', examples=[example(demo)], max_new_tokens=12)
    suite = Suite('corridor', 'corridor', '1', '', 4, [('take-lamp', 2), ('take-lamp', 3)])
    r = evaluate(agent, suite, out=tmp_path/'r.json', n_parallel=2)
    assert r['episodes'] == 2 and r['crashes'] == 0
    from stephrl.episode import read_episodes
    calls = [[c for s in e.steps for c in s.calls] for e in read_episodes(tmp_path/'r.episodes.jsonl')]
    for mine in calls:
        assert [c.role for c in mine] == ['react'] * 4
        counts = [c.prompt_tokens for c in mine]
        assert all(a < b for a, b in zip(counts, counts[1:])), counts      # the server's own counts: the history grows
        assert all(0 < c.completion_tokens <= 12 and c.logprob is None for c in mine)


def test_the_answers_come_in_order_and_a_wrong_name_is_told(served):
    url, model = served
    chat = ChatModel(model, url)
    some = chat.generate([f'say {i} ' * (i + 1) for i in range(5)], max_new_tokens=4)
    assert [g.prompt_tokens for g in some] == sorted({g.prompt_tokens for g in some})
    again = chat.generate(['say 0 '], max_new_tokens=4)
    assert again[0].text == some[0].text                                   # greedy
    with pytest.raises(ValueError, match='does it have this model'): ChatModel(model + '-not', url).generate(['hello'], 4)
