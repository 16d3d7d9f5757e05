// Sends prompts with the real client of the AI SDK and prints what it has read, one line of JSON for each.
// Usage: node ai_sdk_client.mjs URL PROMPT...   A prompt that begins with "leave" is aborted after its first text.
import { Chat } from '@ai-sdk/react';
import { DefaultChatTransport } from 'ai';

const [, , url, ...prompts] = process.argv;

for (const prompt of prompts) {
  const data = [];
  const toolCalls = [];
  let finished = null;
  const chat = new Chat({
    transport: new DefaultChatTransport({ api: url }),
    onData: part => data.push(part),
    onToolCall: ({ toolCall }) => { toolCalls.push(toolCall); },
    onFinish: event => { finished = { isAbort: event.isAbort, isError: event.isError, finishReason: event.finishReason }; },
    onError: () => {},
  });
  const files = prompt.startsWith('file')
    ? [{ type: 'file', mediaType: 'text/plain', filename: 'a.txt', url: 'data:text/plain;base64,YQ==' }]
    : undefined;
  const text = prompt.replace(/^(leave|file) /, '');
  const sent = chat.sendMessage({ text, files });
  if (prompt.startsWith('leave')) {
    while (!chat.messages.some(m => m.role === 'assistant' && m.parts.some(p => p.type === 'text')))
      await new Promise(resolve => setTimeout(resolve, 10));
    await chat.stop();
  }
  await sent;
  console.log(JSON.stringify({
    status: chat.status, error: chat.error?.message ?? null, message: chat.lastMessage, data, toolCalls, finished,
  }));
}
