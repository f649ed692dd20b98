// What the Vercel AI SDK makes of the service at argv[2], for the photos a.png and b.png beside it.
import { readFile, writeFile } from "node:fs/promises";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateImage, generateText, streamText } from "ai";

const birefcli = createOpenAICompatible({
  name: "birefcli",
  baseURL: `${process.argv[2]}/v1`,
  apiKey: "any",
});
const photos = await Promise.all(["a.png", "b.png"].map((name) => readFile(name)));

async function refused(options) {
  try {
    await generateImage({ model: birefcli.imageModel("mini"), maxRetries: 0, ...options });
  } catch (error) {
    if (APICallError.isInstance(error)) {
      return [error.statusCode, error.message, error.isRetryable];
    }
    throw error;
  }
  return null;
}

// Edits
const edited = await generateImage({
  model: birefcli.imageModel("mini"),
  prompt: { images: photos, text: "cut them out" },
});
await Promise.all(
  edited.images.map((image, index) => writeFile(`edit-${index}.png`, image.uint8Array)),
);
const mask = await generateImage({
  model: birefcli.imageModel("mini"),
  prompt: { images: photos.slice(0, 1) },
  size: "70x70",
  providerOptions: { birefcli: { write: "mask", output_format: "webp" } },
});
await writeFile("mask.webp", mask.image.uint8Array);

// Chat
const chat = {
  model: birefcli.chatModel("mini"),
  messages: [
    {
      role: "user",
      content: [
        { type: "text", text: "cut it out" },
        { type: "file", mediaType: "image/png", data: photos[0] },
      ],
    },
  ],
};
const { text, finishReason } = await generateText(chat);
// The SDK reads a picture in no chat: it is in what comes raw.
const pictures = [];
for await (const part of streamText({ ...chat, includeRawChunks: true }).fullStream) {
  if (part.type === "error") {
    throw part.error;
  }
  if (part.type === "raw") {
    pictures.push(...(part.rawValue.choices[0].delta.images ?? []));
  }
}

console.log(
  JSON.stringify({
    types: [...edited.images, mask.image].map((image) => image.mediaType),
    warnings: edited.warnings,
    text,
    finishReason,
    pictures: pictures.map((picture) => picture.image_url.url),
    refusals: [
      await refused({ prompt: "a cat" }),
      await refused({ prompt: { images: photos }, n: 2 }),
      await refused({ prompt: { images: photos }, model: birefcli.imageModel("other") }),
      await refused({ prompt: { images: [photos[0].subarray(0, 60)] } }),
    ],
  }),
);
