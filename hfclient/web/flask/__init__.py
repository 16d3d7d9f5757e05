"""The Flask extension.

    app = Flask(__name__)
    hf = HFClient(app)

    @app.post("/ask")
    def ask():
        prompt = hf.prompt()
        return hf.stream_response(lambda: hf.client.chat(prompt))
"""

from hfclient.web.flask.extension import HFClient

__all__ = ["HFClient"]
