// Sends prompts with the real client of the AI SDK and prints what it has read, one line of JSON for each.
// Usage: node ai_sdk_client.mjs URL PROMPT...   A prompt that begins with "leave" is aborted after its first text, one that begins with
// "resume" also, and then another chat of the same id resumes it, as a page that is loaded again.
import { Chat } from '@ai-sdk/react';
import { DefaultChatTransport } from 'ai';

const [, , url, ...prompts] = process.argv;

for (const prompt of prompts) {
  const data = [];
  const toolCalls = [];
  let finished = null;
  const id = crypto.randomUUID();
  const create = messages => new Chat({
    id,
    messages,
    transport: new DefaultChatTransport({ api: url }),
    onData: part => data.push(part),
    onToolCall: ({ toolCall }) => { toolCalls.push(toolCall); },
    onFinish: event => { finished = { isAbort: event.isAbort, isError: event.isError, finishReason: event.finishReason }; },
    onError: () => {},
  });
  let chat = create([]);
  const files = prompt.startsWith('file')
    ? [{ type: 'file', mediaType: 'text/plain', filename: 'a.txt', url: 'data:text/plain;base64,YQ==' }]
    : undefined;
  const text = prompt.replace(/^(leave|file|resume) /, '');
  const sent = chat.sendMessage({ text, files });
  if (prompt.startsWith('leave') || prompt.startsWith('resume')) {
    while (!chat.messages.some(m => m.role === 'assistant' && m.parts.some(p => p.type === 'text')))
      await new Promise(resolve => setTimeout(resolve, 10));
    await chat.stop();
  }
  await sent;
  if (prompt.startsWith('resume')) {
    chat = create(chat.messages.slice(0, 1));
    await chat.resumeStream();
  }
  console.log(JSON.stringify({
    status: chat.status, error: chat.error?.message ?? null, message: chat.lastMessage, data, toolCalls, finished,
  }));
}
