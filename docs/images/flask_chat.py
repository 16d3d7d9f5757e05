"""Pictures of examples/flask_chat in Chromium, answered by a scripted model.

    $ python -m docs.images.flask_chat          # in the folder of the project; writes docs/images/flask-chat-*.png
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

from hfclient.local import LocalServer
from tests import services
from tests.deploy.gunicorn import Gunicorn
from tests.local.upstream import Fail, ScriptedUpstream, Think
from tests.processes.helpers import ROOT

ANSWER = '''A `for` loop repeats a block **once for each item**:

```python
def squares(limit: int) -> list[int]:
    """Return the squares below a limit."""
    result = []
    for number in range(limit):
        if number * number >= limit:
            break
        result.append(number * number)
    return result
```

| Loop | Use it when | Cost |
|:-----|:------------|-----:|
| `for` | the items are known | 1.0 |
| `while` | a condition decides | 1.25 |
| comprehension | a list is the result | 0.8 |

1. Start with the *simplest* loop.
2. Measure, and only then change it.

The [tutorial](https://docs.python.org/3/tutorial/controlflow.html) has more.'''
PICTURES = [  # name, width, height, colours, prompt
    ("answer", 1280, 940, "light", "Show a loop in Python."),
    ("phone", 390, 844, "dark", "Show a loop in Python, please."),
    ("problem", 390, 844, "light", "Hello?"),
]


def main() -> None:
    """Write the pictures."""
    gate = threading.Event()
    os.environ["HFCLIENT_HOME"] = tempfile.mkdtemp()
    with tempfile.TemporaryDirectory() as folder, ScriptedUpstream() as upstream, LocalServer(upstream=upstream.url) as server:
        pieces = [ANSWER[i : i + 5] for i in range(0, len(ANSWER), 5)]
        upstream.say("Show a loop in Python.", [Think("The user wants a loop.\n"), *pieces])
        upstream.say("Show a loop in Python, please.", [Think("The user wants a loop.\n"), *pieces[:80], gate])
        upstream.say("Hello?", [Fail(429, "slow down")])
        options = {"FLASK_SECRET_KEY": "pictures", "HFCLIENT_BASE_URL": server.url}
        chdir = ("--chdir", str(ROOT / "examples" / "flask_chat"))
        with Gunicorn("app:app", "gthread", Path(folder), *chdir, workers=1, **options) as site, services.browser() as browser:
            for name, width, height, colours, prompt in PICTURES:
                is_phone = width < 500
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=colours, is_mobile=is_phone, has_touch=is_phone
                )
                page = context.new_page()
                page.goto(f"http://127.0.0.1:{site.port}/")
                if prompt:
                    page.fill("textarea", prompt)
                    page.click("[type=submit]")
                    page.wait_for_selector(".problem" if name == "problem" else ".stop" if name == "phone" else ".retry")
                page.wait_for_timeout(1000)
                page.screenshot(path=Path(__file__).with_name(f"flask-chat-{name}.png"))
                context.close()
            gate.set()


if __name__ == "__main__":
    main()
