"The LLM annotator against a real server that speaks the chat protocol, and its recordings."
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given, strategies as st

from stephrl.annotate import annotate, check_subtasks
from stephrl.episode import Episode, Observation, Step
from stephrl.llm_annotate import LLMAnnotator, Recorded, chat_model, parse_segments

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        prompt = body['messages'][-1]['content']
        self.server.asked.append(prompt)
        text = '0-1: do it' if prompt.endswith('Subtasks:') else 'yes' if prompt.endswith('Answer:') else 'Agent did it.\nAnd more.'
        out = json.dumps(dict(id='1', object='chat.completion', created=0, model=body['model'],
                              choices=[dict(index=0, finish_reason='stop', message=dict(role='assistant', content=text))])).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(out)))
        self.end_headers()
        self.wfile.write(out)
    def log_message(self, *args): pass

@pytest.fixture
def server():
    s = HTTPServer(('127.0.0.1', 0), Handler)
    s.asked = []
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield s
    s.shutdown()
    s.server_close()

def demo():
    o = [Observation(f'answer {i}') for i in range(3)]
    return Episode('toy', '1', 'go', 0, 'train', 'Do it.', [Step(o[0], 'a'), Step(o[1], 'b')], final=o[2])

def test_endpoint_recording_and_replay(server, tmp_path):
    chat = chat_model('any', f'http://127.0.0.1:{server.server_port}/v1', 'none')
    ep = annotate(demo(), LLMAnnotator(Recorded(tmp_path / 'calls.jsonl', chat)))
    assert [(g.name, g.final_progress, g.verified) for g in ep.subtasks] == [('do it', 'Agent did it.', True)]
    n = len(server.asked)
    with open(tmp_path / 'calls.jsonl', 'a') as f: f.write('\n{"key": "cut')
    again = annotate(demo(), LLMAnnotator(Recorded(tmp_path / 'calls.jsonl')))
    assert again == ep and len(server.asked) == n

@given(st.text(max_size=200), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.text(max_size=20))), st.integers(1, 20))
def test_whatever_can_be_read_covers_the_steps(chatter, lines, n):
    text = chatter + '\n' + '\n'.join(f'{a}-{b}: {name}' for a, b, name in lines)
    try: found = parse_segments(text, n)
    except ValueError: return
    check_subtasks(found, n)
